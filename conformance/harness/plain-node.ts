/**
 * Starts Node as a user's shell would. tap puts its own loader into every child (NODE_OPTIONS), which slows the gateways
 * down, takes their signals and stays when they should end; whoever times or kills a process needs it without.
 * A program and its first arguments, for `spawn`.
 */
export const PLAIN_NODE = [
  'env',
  // Where `localhost` is 127.0.0.1 and ::1, a busy machine would be given up after 250 ms for the one where nobody listens.
  'NODE_OPTIONS=--network-family-autoselection-attempt-timeout=20000',
  process.execPath,
] as const;
