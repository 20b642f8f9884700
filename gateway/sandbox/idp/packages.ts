/** The optional packages are not installed: `npm install --omit=optional` leaves them out. */
export class PackageMissing extends Error {
  override readonly name = 'PackageMissing';
}

/** A gateway does not need them. @throws PackageMissing */
export function requirePackages(): void {
  for (const name of ['oidc-provider', '@simplewebauthn/server']) {
    try {
      import.meta.resolve(name);
    } catch {
      throw new PackageMissing(`${name} is not installed: run npm install without --omit=optional`);
    }
  }
}
