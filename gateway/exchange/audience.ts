/** URI that assertions and security events for a gateway name as their audience. */
export const audienceOf = (gateway: string): string => `https://${gateway}`;
