// The type declarations of @peculiar/x509 use these names of the browser library. Without a declaration they would
// silently be `any`.
type CryptoKey = import('node:crypto').webcrypto.CryptoKey;
type CryptoKeyPair = import('node:crypto').webcrypto.CryptoKeyPair;
type BufferSource = import('node:crypto').webcrypto.BufferSource;
