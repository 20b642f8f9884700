/** `192.0.2.1:443` and `::1:443` without the port, which is another with every connection, and of which an attacker has as many as he likes. */
export function withoutPort(remote: string): string {
  const end = remote.lastIndexOf(':');
  return end < 0 ? remote : remote.slice(0, end);
}
