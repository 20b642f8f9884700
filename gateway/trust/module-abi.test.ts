import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import { MalformedBytes } from '../core/errors.ts';
import { MAX_MODULE_BYTES, checkModule } from './module-abi.ts';
import { functionOf, policyModule } from './module-fixture.ts';

const wasm = readFileSync(new URL('../../policies/bundle/policy.wasm', import.meta.url));

void t.test('accepts what the compiler makes, and the fixture', async (t) => {
  t.equal(checkModule(wasm).initialPages, 2);
  t.equal(checkModule(policyModule()).initialPages, 5);
  t.equal(checkModule(policyModule({ memory: [0x01, 5, 16] })).initialPages, 5, 'with a maximum of its own');
});

void t.test('O08, O13: refuses imports, exports and sizes beyond the ABI', async (t) => {
  const raw = (...content: number[]) => content;
  const table: readonly (readonly [what: string, module: Uint8Array, message: string])[] = [
    ['a clock', policyModule({ imports: [['env', 'now', functionOf('makes')]] }), 'imports function env.now'],
    ['WASI', policyModule({ imports: [['wasi_snapshot_preview1', 'random_get', functionOf('pairs')]] }), 'imports function wasi_snapshot_preview1.random_get'],
    ['printing', policyModule({ imports: [['env', 'opa_println', functionOf('takes')]] }), 'imports function env.opa_println'],
    ['an ABI name from elsewhere', policyModule({ imports: [['host', 'opa_abort', functionOf('takes')]] }), 'imports function host.opa_abort'],
    ['a table', policyModule({ imports: [['env', 'table', [0x01, 0x70, 0, 1]]] }), 'imports something of kind 1'],
    ['a global', policyModule({ imports: [['env', 'opa_abort', [0x03, 0x7f, 0]]] }), 'imports something of kind 3'],
    ['another export', policyModule({ rename: { opa_malloc: 'backdoor' } }), 'exports function backdoor'],
    ['an export of another kind', policyModule({ rename: { opa_malloc: 'opa_wasm_abi_version', opa_wasm_abi_version: null } }), 'exports function opa_wasm_abi_version'],
    ['no opa_eval', policyModule({ rename: { opa_eval: null } }), 'does not export opa_eval'],
    ['no version', policyModule({ rename: { opa_wasm_abi_version: null } }), 'does not export opa_wasm_abi_version'],
    ['much memory', policyModule({ memory: [0x00, 0x81, 0x02] }), 'wants 257 pages of memory'],
    ['shared memory', policyModule({ memory: [0x03, 5, 16] }), 'limits of kind 3'],
    ['64-bit memory', policyModule({ memory: [0x04, 5] }), 'limits of kind 4'],
    ['a memory of its own', policyModule({ sections: { 5: raw(1, 0x00, 1) } }), 'has a memory of its own'],
    ['a huge table', policyModule({ sections: { 4: raw(1, 0x70, 0x01, 0x91, 0x4e, 0x91, 0x4e) } }), 'wants a table of 10001 entries'],
    ['no memory', policyModule({ sections: { 2: raw(0) } }), 'does not import a memory'],
    ['a section cut short', policyModule({ sections: { 2: raw(9) } }), 'needs 1 bytes'],
    ['a count of 6 bytes', policyModule({ sections: { 2: raw(0x80, 0x80, 0x80, 0x80, 0x80, 0x01) } }), 'longer than 32 bits'],
    ['a count of 33 bits', policyModule({ sections: { 2: raw(0xff, 0xff, 0xff, 0xff, 0x1f) } }), 'longer than 32 bits'],
    ['a body that does not validate', policyModule({ body: [0x6a] }), 'does not compile'],
    ['too large', new Uint8Array(MAX_MODULE_BYTES + 1), `module of ${MAX_MODULE_BYTES + 1} bytes`],
    ['another version', Uint8Array.of(0, 0x61, 0x73, 0x6d, 2, 0, 0, 0), 'not a WebAssembly 1.0 module'],
  ]; // prettier-ignore
  for (const [what, module, message] of table) {
    t.throws(() => checkModule(module), { name: 'MalformedBytes', message: new RegExp(message) }, what);
  }
});

void t.test('every truncation is refused', async (t) => {
  const whole = policyModule();
  // Cut between two sections a module may still be well-formed; then something it must have is missing. Only the data
  // comes after everything the ABI asks for: without it the module has no entrypoint (engine.test.ts).
  const withoutData = policyModule({ sections: { 11: [] } }).length - 2;
  checkModule(whole.subarray(0, withoutData));
  for (let end = 0; end < whole.length; end++) {
    if (end === withoutData) continue;
    t.throws(() => checkModule(whole.subarray(0, end)), MalformedBytes, `cut at ${end}`);
  }
});

void t.test('changed bytes are refused or harmless, never another error', async (t) => {
  const whole = policyModule();
  fc.assert(
    fc.property(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const changed = whole.slice();
      changed[at] = (changed[at] ?? 0) ^ flip;
      try {
        checkModule(changed);
      } catch (thrown) {
        t.type(thrown, MalformedBytes);
      }
    }),
    { numRuns: 500 },
  );
});
