import { open, type FileHandle } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { MalformedBytes } from '../core/errors.ts';
import { HEADER_BYTES, MAX_MESSAGE } from '../tpm/command.ts';

/** The way to a TPM: whole commands in, whole responses out, one at a time. */
export interface TpmTransport {
  transmit(command: Uint8Array): Promise<Buffer>;
  close(): Promise<void>;
}

/** Creating an RSA key on a discrete TPM can take a minute; nothing takes five. */
const RESPONSE_MS = 300_000;
const CONNECT_MS = 10_000;
/**
 * The first command is to wake up, which takes no time. But swtpm serves one connection at a time: a second one is accepted and
 * waits for the first to close, and other programs that listen somewhere answer never.
 */
const FIRST_MS = 30_000;

/**
 * Opens the TPM at an address: `device:/dev/tpmrm0` (the kernel's resource manager), `unix:/path` or
 * `tcp:host:port` (the data channel of swtpm). The bytes are the same on all three.
 * @param firstMs how long the first response may take
 * @throws TypeError it is no such address; the operating system's error when it cannot be opened
 */
export async function openTransport(address: string, firstMs = FIRST_MS): Promise<TpmTransport> {
  const [, kind, rest = ''] = /^(device|unix|tcp):(.+)$/.exec(address) ?? [];
  switch (kind) {
    case 'device':
      return new DeviceTransport(await open(rest, 'r+'));
    case 'unix':
      return new SocketTransport(await connected({ path: rest }), firstMs);
    case 'tcp': {
      const at = rest.lastIndexOf(':');
      return new SocketTransport(
        await connected({ host: rest.slice(0, at), port: Number(rest.slice(at + 1)) }),
        firstMs,
      );
    }
    default:
      throw new TypeError(`${address}: not device:PATH, unix:PATH or tcp:HOST:PORT`);
  }
}

/** A character device: one write is one command, one read its response. */
class DeviceTransport implements TpmTransport {
  readonly #file: FileHandle;
  constructor(file: FileHandle) {
    this.#file = file;
  }

  async transmit(command: Uint8Array): Promise<Buffer> {
    const { bytesWritten } = await this.#file.write(command, 0, command.length, null);
    if (bytesWritten !== command.length) throw new MalformedBytes('the TPM device took a part of a command');
    const response = Buffer.alloc(MAX_MESSAGE);
    const { bytesRead } = await this.#file.read(response, 0, MAX_MESSAGE, null);
    return response.subarray(0, bytesRead);
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}

async function connected(
  where: { readonly path: string } | { readonly host: string; readonly port: number },
): Promise<Socket> {
  const socket = connect(where);
  socket.setNoDelay(true);
  await new Promise<void>((resolve, reject) => {
    const late = setTimeout(() => {
      socket.destroy(new Error(`no connection to the TPM in ${CONNECT_MS} ms`));
    }, CONNECT_MS);
    socket.once('connect', () => {
      clearTimeout(late);
      socket.removeListener('error', reject);
      resolve();
    });
    socket.once('error', (cause) => {
      clearTimeout(late);
      reject(cause);
    });
  });
  return socket;
}

interface Waiting {
  readonly resolve: (response: Buffer) => void;
  readonly reject: (cause: Error) => void;
}

/** The data channel of swtpm. */
class SocketTransport implements TpmTransport {
  readonly #socket: Socket;
  #received: Buffer = Buffer.alloc(0);
  #waiting: Waiting | undefined;
  #broken: Error | undefined;
  #patienceMs: number;

  constructor(socket: Socket, firstMs: number) {
    this.#socket = socket;
    this.#patienceMs = firstMs;
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('error', (cause) => this.#break(cause));
    socket.on('close', () => this.#break(new Error('the TPM closed the connection')));
  }

  transmit(command: Uint8Array): Promise<Buffer> {
    if (this.#waiting !== undefined) throw new Error('a TPM takes one command at a time');
    return new Promise<Buffer>((resolve, reject) => {
      if (this.#broken !== undefined) {
        reject(this.#broken);
        return;
      }
      const patienceMs = this.#patienceMs;
      const late = setTimeout(() => {
        this.#socket.destroy(
          new Error(`no answer in ${patienceMs / 1000} s: is this a TPM, and does no other program use it?`),
        );
      }, patienceMs);
      const settled = <A>(settle: (value: A) => void) => {
        return (value: A): void => {
          clearTimeout(late);
          this.#waiting = undefined;
          settle(value);
        };
      };
      this.#waiting = { resolve: settled(resolve), reject: settled(reject) };
      this.#socket.write(command);
    });
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#socket.closed) {
        resolve();
        return;
      }
      this.#socket.once('close', () => resolve());
      this.#socket.destroy();
    });
  }

  #take(chunk: Buffer): void {
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
    if (this.#received.length < HEADER_BYTES) return;
    const size = this.#received.readUInt32BE(2);
    const nobodyAsked = this.#waiting === undefined;
    if (nobodyAsked || size < HEADER_BYTES || size > MAX_MESSAGE || this.#received.length > size) {
      this.#socket.destroy(new MalformedBytes('the TPM sent something that is no response'));
      return;
    }
    if (this.#received.length < size) return;
    const response = this.#received;
    this.#received = Buffer.alloc(0);
    this.#patienceMs = RESPONSE_MS;
    this.#waiting?.resolve(response);
  }

  #break(cause: Error): void {
    this.#broken ??= cause;
    this.#waiting?.reject(this.#broken);
  }
}
