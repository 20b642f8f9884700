/**
 * Starts Node as a user's shell would. tap puts its own loader into every child (NODE_OPTIONS), which slows the gateways
 * down, takes their signals and stays when they should end; whoever times or kills a process needs it without.
 * A program and its first arguments, for `spawn`.
 */
export const PLAIN_NODE = ['env', '-u', 'NODE_OPTIONS', process.execPath] as const;
