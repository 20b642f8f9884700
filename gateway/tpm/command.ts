// Command and response framing, TPM 2.0 Library Part 1 §18. Bytes only: whoever has the device sends them.
import { MalformedBytes } from '../core/errors.ts';
import { hex } from './algorithm.ts';
import { ByteReader, sized, u16, u32, u8 } from './cursor.ts';

const TAG = { noSessions: 0x8001, sessions: 0x8002 } as const;
/** TPM_RS_PW: a password instead of a session. */
const PASSWORD = 0x40000009;
/** Largest command or response that a TPM's own buffer holds. */
export const MAX_MESSAGE = 4096;
export const HEADER_BYTES = 10;

/** One thing to ask of a TPM: the bytes to send, and how to read what comes back. */
export interface Command<T> {
  /** As in Part 3, for messages: `Quote`, `Certify`. */
  readonly name: string;
  readonly bytes: Uint8Array;
  /** @throws TpmRefused the TPM said no; MalformedBytes the answer is none */
  parse(response: Uint8Array): T;
}

/** The TPM answered with an error. */
export class TpmRefused extends Error {
  override readonly name = 'TpmRefused';
  /** TPM_RC as received; format-one codes still carry the number of the handle, session or parameter. */
  readonly rc: number;
  constructor(name: string, rc: number) {
    super(`TPM2_${name}: response code ${hex(rc)}`);
    this.rc = rc;
  }
}

/** TPM_RC values that are decided on. */
export const RC = {
  /** Startup after the TPM was started already. */
  initialize: 0x100,
  yielded: 0x908,
  testing: 0x90a,
  retry: 0x922,
} as const;

/** How a handle is authorized: with a password (empty for ours), or with a policy session. */
export type Authorization = { readonly password: Uint8Array } | { readonly policySession: number };

/** Keys of ours have no password: what protects them is that they cannot leave the TPM. */
export const EMPTY_PASSWORD: Authorization = { password: new Uint8Array() };

interface CommandParts<T> {
  readonly name: string;
  /** TPM_CC. */
  readonly code: number;
  readonly handles?: readonly number[];
  /** One for each handle that needs authorization, in order. */
  readonly auths?: readonly Authorization[];
  readonly parameters?: readonly Uint8Array[];
  /** How many handles stand before the parameters of the response. */
  readonly responseHandles?: 0 | 1;
  /** Reads the response's parameters, all of them; `handle` is there when one was announced. */
  readonly read: (parameters: ByteReader, handle: number) => T;
}

/** Builds a command. Its response is read exactly: lengths must agree and no byte may be left. */
export function command<T>(parts: CommandParts<T>): Command<T> {
  const { name, code, handles = [], auths = [], parameters = [], responseHandles = 0, read } = parts;
  const area = Buffer.concat(auths.map(formatAuthorization));
  const body = Buffer.concat([
    ...handles.map(u32),
    ...(auths.length > 0 ? [u32(area.length), area] : []),
    ...parameters,
  ]);
  const tag = auths.length > 0 ? TAG.sessions : TAG.noSessions;
  const bytes = Buffer.concat([u16(tag), u32(HEADER_BYTES + body.length), u32(code), body]);
  if (bytes.length > MAX_MESSAGE) throw new MalformedBytes(`TPM2_${name}: command of ${bytes.length} bytes`);
  return {
    name,
    bytes,
    parse: (response) => {
      const r = new ByteReader(response, `response to TPM2_${name}`);
      const answered = r.u16('tag');
      if (r.u32('responseSize') !== response.length) throw r.malformed('responseSize is not its length');
      const rc = r.u32('responseCode');
      if (rc !== 0) {
        r.finish();
        throw new TpmRefused(name, rc);
      }
      if (answered !== tag) throw r.malformed(`tag ${hex(answered)}`);
      const handle = responseHandles === 1 ? r.u32('handle') : 0;
      const parametersOf = tag === TAG.sessions ? readSessions(r, auths.length, name) : r;
      const result = read(parametersOf, handle);
      parametersOf.finish();
      return result;
    },
  };
}

/** TPMS_AUTH_COMMAND. Nonce and HMAC are empty: passwords need none, and our policies ask for none. */
function formatAuthorization(auth: Authorization): Buffer {
  const [handle, hmac] =
    'password' in auth ? [PASSWORD, auth.password] : [auth.policySession, new Uint8Array()];
  return Buffer.concat([u32(handle), u16(0), u8(0), sized(hmac)]);
}

/** Parameters stand between their length and the TPM's answers to the sessions, which must be all there. */
function readSessions(r: ByteReader, count: number, name: string): ByteReader {
  const parameters = r.take(r.u32('parameterSize'), 'parameters');
  for (let i = 0; i < count; i += 1) {
    r.sized(64, 'nonceTPM');
    r.u8('sessionAttributes');
    r.sized(64, 'hmac');
  }
  r.finish();
  return new ByteReader(parameters, `response to TPM2_${name}`);
}
