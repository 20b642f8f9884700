import { fieldValue, type Fields } from '../core/fields.ts';
import type { ExchangeId } from '../core/ids.ts';
import type { LinkArrival } from '../link/link.ts';
import { EXCHANGE, parseExchange } from '../message/exchange-field.ts';
import { INPUT, type RequestBinding } from '../message/profile.ts';

// What a request on the link says of itself before anything of it was verified. Good for addressing an answer to it and
// for finding its record; nothing is decided on these.

/** What an answer to these header fields can be tied to, by the label that is there. Says nothing about validity. */
export function bindingOf(fields: Fields): RequestBinding | undefined {
  const input = fieldValue(fields, INPUT) ?? '';
  if (input.startsWith('final=')) return { mode: 'full', label: 'final' };
  if (input.startsWith('open=')) return { mode: 'stream', label: 'open' };
  return undefined;
}

export function claimedExchange(arrival: LinkArrival): ExchangeId | undefined {
  const value = fieldValue(arrival.rawHead.fields, EXCHANGE);
  try {
    return parseExchange(value).id;
  } catch {
    return undefined;
  }
}

export function claimedSender(fields: Fields): string | undefined {
  try {
    return parseExchange(fieldValue(fields, EXCHANGE)).from;
  } catch {
    return undefined;
  }
}
