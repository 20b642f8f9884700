/**
 * Everything the attestation service refuses, in one table: code, status, and whether an administrator must see it
 * (`alert`: somebody is lying, or two machines are one).
 */
export const REFUSED = {
  'request.malformed': { status: 400 },
  'request.too_large': { status: 413 },
  'request.unknown': { status: 404 },
  'request.overloaded': { status: 503 },

  // The endorsement key: is this a TPM that a vendor vouches for?
  'ek.certificate': { status: 403 },
  'ek.chain': { status: 403 },
  'ek.not_in_time': { status: 403 },
  'ek.is_ca': { status: 403 },
  'ek.usage': { status: 403 },
  'ek.vendor': { status: 403 },
  'ek.critical': { status: 403 },
  'ek.revoked': { status: 403, alert: true },
  'ek.key_mismatch': { status: 403, alert: true },
  'ek.template': { status: 403 },
  'ek.not_allowed': { status: 403 },
  'ek.test_root': { status: 403, alert: true },

  // Enrolment: is the attestation key in that TPM?
  'enrol.key_malformed': { status: 400 },
  'enrol.ak_attributes': { status: 403, alert: true },
  'enrol.ak_scheme': { status: 403 },
  'enrol.ak_taken': { status: 409, alert: true },
  'enrol.binding_attributes': { status: 403, alert: true },
  'enrol.name_taken': { status: 409 },
  'enrol.device_exists': { status: 409, alert: true },
  'enrol.unknown': { status: 403 },
  'enrol.expired': { status: 403 },
  'enrol.proof': { status: 403, alert: true },
  'enrol.certify': { status: 403, alert: true },

  // Evidence: is the machine as it should be, now?
  'evidence.device_unknown': { status: 404 },
  'evidence.device_inactive': { status: 403 },
  'evidence.nonce': { status: 403 },
  'evidence.connection': { status: 403, alert: true },
  'evidence.audience': { status: 403 },
  'evidence.signature': { status: 403, alert: true },
  'evidence.structure': { status: 403 },
  'evidence.type': { status: 403 },
  'evidence.signer': { status: 403, alert: true },
  'evidence.binding': { status: 403 },
  'evidence.selection': { status: 403 },
  'evidence.log': { status: 403 },
  'evidence.log_too_large': { status: 413 },
  'evidence.bank': { status: 403 },
  'evidence.pcr_digest': { status: 403 },
  'evidence.reset_rollback': { status: 403, alert: true },
  'evidence.restart_rollback': { status: 403, alert: true },
  'evidence.clock_rollback': { status: 403, alert: true },
  'evidence.clock_unsafe': { status: 403 },
  'evidence.claims': { status: 403 },
  'evidence.policy': { status: 503 },
  'evidence.learning': { status: 503 },

  'admin.unknown_device': { status: 404 },
  'admin.state': { status: 409 },
} as const satisfies Record<string, { readonly status: number; readonly alert?: true }>;

export type RefusedCode = keyof typeof REFUSED;

/** A device, or whoever says it is one, is refused. The detail goes to the log only, never to the other side. */
export class Refused extends Error {
  override readonly name = 'Refused';
  readonly code: RefusedCode;
  constructor(code: RefusedCode, detail: string, options?: { cause?: unknown }) {
    super(`${code}: ${detail}`, options);
    this.code = code;
  }

  get status(): number {
    return REFUSED[this.code].status;
  }

  get isAlert(): boolean {
    return 'alert' in REFUSED[this.code];
  }
}

/** Runs a parser or check and gives what it throws (of the named kinds) this code. */
export function refusing<T>(code: RefusedCode, names: readonly string[], run: () => T): T {
  try {
    return run();
  } catch (cause) {
    if (!(cause instanceof Error) || !names.includes(cause.name)) throw cause;
    throw new Refused(code, cause.message, { cause });
  }
}
