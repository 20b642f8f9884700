import type { EpochMs, EpochSeconds } from '../core/clock.ts';
import type { ExchangeId } from '../core/ids.ts';
import type { RefusalCode } from '../core/refusals.ts';

/**
 * What one leaf of the log says. Kept small and free of personal data; whatever may be personal sits in *parts*, sealed
 * apart and bound by salted commitments, so that a part can be destroyed and the tree stays whole.
 *
 * `open`: a streamed request was admitted on its head. `req.final` / `res.final`: a whole request or answer, signed and
 * digested. `recheck`: decided again while it ran, with the same outcome. `deny`: refused before anything was forwarded. `abort`: ended after something had been. `sig.bad`,
 * `replay.seen`: refused because of the signature or a repeated id. `peer.cp`: a peer's checkpoint, kept. `dispute`: a
 * peer contradicted itself. `policy`, `trust`, `config`: what decisions were made under from here on. `shadow`: what
 * another policy would have decided. `boot`: start of
 * the process and what recovery found. `seal`: orderly end.
 */
export type RecordKind =
  | 'open'
  | 'req.final'
  | 'res.final'
  | 'recheck'
  | 'deny'
  | 'abort'
  | 'sig.bad'
  | 'replay.seen'
  | 'peer.cp'
  | 'dispute'
  | 'policy'
  | 'shadow'
  | 'trust'
  | 'config'
  | 'boot'
  | 'seal';

/**
 * Parts of a record by retention class: signature bases (but for the user's assertion), targets and what `extra_logging` notes; the policy's input; the user's assertion and its
 * proof; attestation results.
 */
export type PartClass = 'meta' | 'input' | 'subject' | 'device';

/** Facts of one exchange as one gateway saw them. Absent means not known at that point, never "empty". */
export interface ExchangeFacts {
  /** Exchange id: the same at both gateways. */
  readonly x: ExchangeId;
  /** X-Road-Id as the client sent it or the consumer gateway made it. */
  readonly xid?: string;
  /** `c` = consumer's gateway wrote this, `p` = provider's. */
  readonly role: 'c' | 'p';
  /** Names of the two gateways. */
  readonly me: string;
  readonly peer?: string;
  /** Consumer subsystem and provider service, X-Road identifiers. */
  readonly client?: string;
  readonly svc?: string;
  /** Request method. Path and query are in the `meta` part: they may be personal. */
  readonly op?: string;
  /** `full`: signature in the headers; `stream`: final signature in the trailers. */
  readonly mode?: 'full' | 'stream';
  /** Answer's status code. */
  readonly status?: number;
  /** Content length in bytes. */
  readonly len?: number;
  /** Content digest, `sha-256:` and base64. */
  readonly dg?: string;
  /** The signature of this message: value (base64), key id. In an `open` record the opening one, else the final one. */
  readonly sig?: string;
  readonly kid?: string;
  readonly tls?: TlsFacts;
  readonly pol?: PolicyFacts;
  readonly usr?: UserFacts;
  /** The machine that the user or client system sits on, and the host of the peer gateway. */
  readonly dev?: DeviceFacts;
  readonly node?: DeviceFacts;
  /** `ok`, or the refusal code. */
  readonly out: 'ok' | RefusalCode;
  /** How many bytes had gone on when an exchange was aborted, per direction. */
  readonly sent?: { readonly req: number; readonly res: number };
}

export interface TlsFacts {
  readonly v: string;
  readonly suite: string;
  /** Key-exchange group, as the connecting side negotiated it (only the client's end of Node can read it). */
  readonly g: string;
  /** SHA-256 of the peer's certificate, base64url. */
  readonly peer: string;
}

/** How the user was shown to be who it is. Who that is stands in the `subject` part, to which its commitment binds this. */
export interface UserFacts {
  /** Issuer. */
  readonly iss: string;
  /** SP 800-63 levels. */
  readonly ial: number;
  readonly aal: number;
  readonly fal: number;
  readonly acr: string;
  readonly amr: readonly string[];
  /** When the user authenticated, seconds since 1970. */
  readonly at: EpochSeconds;
  readonly by: 'dpop' | 'certificate' | 'none';
  /** Hashes of the ids this request used up (`jti` of an unbound assertion or of a proof), base64url. */
  readonly once: readonly string[];
}

/** What was attested of a machine. The result itself stands in the `device` part. */
export interface DeviceFacts {
  /** SHA-256 of the result, base64url. */
  readonly r: string;
  /** Attestation service, and its name for the machine. */
  readonly iss: string;
  readonly id: string;
  /** Tiers of draft-ietf-rats-ar4si: what it booted, how it is looked after. */
  readonly tpm: string;
  readonly health: string;
  /** How the connection hung on its TPM: `software`, `bound` or `tpm`. */
  readonly by: string;
}

export interface PolicyFacts {
  /** SHA-256 of the policy bundle, base64url. */
  readonly b: string;
  /** Entry point. */
  readonly e: string;
  /** SHA-256 of the input's bytes, base64url; the bytes are a part. Unguessable: the input holds the exchange id. */
  readonly i: string;
  /** SHA-256 of the result in RFC 8785 form, base64url. */
  readonly o: string;
  readonly allow: boolean;
  /** Band of the score, `none` to `high`; the score, 0 to 100, and what it had to reach. */
  readonly tier: string;
  readonly score: number;
  readonly threshold: number;
  /** The agreement the decision rests on. */
  readonly agreement?: string | undefined;
  readonly reasons?: readonly string[] | undefined;
  /** Duties that came with it, in the policy's words; absent when there were none. */
  readonly obligations?: Readonly<Record<string, unknown>> | undefined;
}

/** What a bundle that is not in force would have decided, of some exchanges; their inputs are in their own records. */
export interface ShadowFacts {
  readonly bundle: string;
  /** Exchanges it decided alike, result for result. */
  readonly same: readonly ExchangeId[];
  readonly other: readonly ShadowDecision[];
  readonly failed: readonly { readonly x: ExchangeId; readonly why: string }[];
}

export interface ShadowDecision {
  readonly x: ExchangeId;
  /** SHA-256 of its result in RFC 8785 form, base64url. */
  readonly o: string;
  readonly allow: boolean;
  /** As in {@link PolicyFacts}: what would change for the caller where both allow. */
  readonly tier: string;
  readonly score: number;
  readonly reasons: readonly string[];
}

/** Kinds of the records of an exchange. */
export type ExchangeKind = Extract<
  RecordKind,
  'open' | 'req.final' | 'res.final' | 'recheck' | 'deny' | 'abort' | 'sig.bad' | 'replay.seen'
>;

/** A record as its author hands it over; the log adds `v` and the commitments of the parts. */
export type RecordDraft =
  | ({ readonly k: ExchangeKind; readonly at: EpochMs } & ExchangeFacts)
  | {
      readonly k: 'peer.cp';
      readonly at: EpochMs;
      readonly peer: string;
      readonly origin: string;
      readonly size: string;
      readonly root: string;
      /** the signed note, as received */ readonly note: string;
    }
  | {
      readonly k: 'dispute';
      readonly at: EpochMs;
      readonly peer: string;
      readonly why: string;
      readonly notes: readonly string[];
    }
  | {
      readonly k: 'policy';
      readonly at: EpochMs;
      readonly bundle: string;
      readonly entrypoint: string;
      readonly revision: string;
      /** `start`: with the worker. `activate`: in place of another. `return`: to an earlier one, because of `why`. */
      readonly act: 'start' | 'activate' | 'return';
      readonly why?: string;
      /** Highest version that was in force in this gateway until then, where it is above that of this bundle. */
      readonly highest?: number;
      /** The release, as it was signed: with `bundle` all that the signatures are about. Absent: nobody signed. */
      readonly version?: number;
      readonly from?: EpochMs;
      readonly until?: EpochMs;
      readonly signatures?: readonly { readonly key: string; readonly sig: string }[];
    }
  | ({ readonly k: 'shadow'; readonly at: EpochMs } & ShadowFacts)
  | {
      readonly k: 'trust';
      readonly at: EpochMs;
      readonly registry: string;
      readonly version: number;
      readonly expires: EpochMs;
    }
  | { readonly k: 'config' | 'seal'; readonly at: EpochMs; readonly why: string }
  | {
      readonly k: 'boot';
      readonly at: EpochMs;
      readonly software: string;
      readonly pid: number;
      readonly recovered: {
        readonly size: string;
        readonly tornBytes: number;
        readonly unfinished: readonly ExchangeId[];
      };
    };

/** `c` = SHA-256(salt of 16 bytes ‖ bytes), base64url; `n` = length in bytes. The salt is inside the sealed part. */
export interface PartCommitment {
  readonly c: string;
  readonly n: number;
}

export type CoreRecord = { readonly v: 1 } & RecordDraft & {
    readonly parts?: { readonly [K in PartClass]?: PartCommitment };
  };
