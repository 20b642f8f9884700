/** Kinds of keys that `troad init` makes to sign exchanges. RSA is for those who have one. */
export const MESSAGE_KEYS = ['ed25519', 'p256'] as const;
export type MessageKeyKind = (typeof MESSAGE_KEYS)[number];
