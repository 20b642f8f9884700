/**
 * The part of the WebAssembly JavaScript interface (W3C, §5) that loading a policy needs. Neither `es2024` nor
 * `@types/node` declares it, and without a declaration the SDK's types would silently become `any`.
 */
declare namespace WebAssembly {
  type Kind = 'function' | 'table' | 'memory' | 'global';

  class Module {
    constructor(bytes: Uint8Array);
    static imports(module: Module): { module: string; name: string; kind: Kind }[];
    static exports(module: Module): { name: string; kind: Kind }[];
    private readonly compiled: never;
  }

  class Instance {
    constructor(module: Module, imports: Record<string, Record<string, unknown>>);
    readonly exports: Readonly<Record<string, unknown>>;
  }

  class Memory {
    /** Sizes in pages of 64 KiB. */
    constructor(size: { initial: number; maximum: number });
    readonly buffer: ArrayBuffer;
    /** Detaches the buffer there was. */
    grow(pages: number): number;
  }

  class Global {
    readonly value: unknown;
  }
}
