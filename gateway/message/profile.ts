import type { Fields } from '../core/fields.ts';
import { Coverage } from '../httpsig/base.ts';
import type { Component } from '../httpsig/component.ts';
import { END, type Mode } from './exchange-field.ts';

/**
 * The strict RFC 9421 profile of the link: for each use one label, one tag and one component list. A verifier builds
 * the list itself from what it received and compares; it never asks the message what was covered.
 */
export type Label = 'open' | 'final';
export const TAG = { open: 'troad1-open', final: 'troad1-final' } as const satisfies Record<Label, string>;

/** Seconds from `created` to `expires`, and how far two clocks may differ. */
export const LIFETIME_S = 60;
export const SKEW_S = 30;
/** The longest that an id has to be remembered: a signature made by a clock that is fast, seen by one that is slow. */
export const REPLAY_WINDOW_MS = (LIFETIME_S + 2 * SKEW_S) * 1000;
/** Bodies up to this many bytes are signed and delivered whole. */
export const FULL_MODE_BYTES = 64 * 1024;

export const DIGEST = 'content-digest';
export const INPUT = 'signature-input';
export const SIGNATURE = 'signature';

const isSignatureField = (name: string): boolean => name === INPUT || name === SIGNATURE;

/** Every carried field, in the order it travels in. A field that is not covered is not forwarded. */
const carried = (fields: Fields): Component[] =>
  fields.filter(([name]) => !isSignatureField(name)).map(([name]) => ({ name }));

const TRAILERS: readonly Component[] = [
  { name: DIGEST, tr: true },
  { name: END, tr: true },
];

/** `stream` + `final` repeats all that `open` covered and adds the trailers, so `final` alone is the evidence. */
export function requestComponents(fields: Fields, mode: Mode, label: Label): readonly Component[] {
  return [
    { name: '@method' },
    { name: '@authority' },
    { name: '@path' },
    { name: '@query' },
    ...carried(fields),
    ...(mode === 'stream' && label === 'final' ? TRAILERS : []),
  ];
}

/** What part of a request an answer is tied to: all of it, or (an early answer) only what opened it. */
export interface RequestBinding {
  readonly mode: Mode;
  readonly label: Label;
}

/**
 * An answer belongs to one question: it covers the request's method, target, exchange, digest and, so that no other
 * key's signature over the same message can be put in place, the request's signature input (RFC 9421 §7.3.7).
 */
export function responseComponents(
  fields: Fields,
  mode: Mode,
  label: Label,
  binding: RequestBinding,
): readonly Component[] {
  const inTrailers = binding.mode === 'stream' && binding.label === 'final' ? ({ tr: true } as const) : {};
  return [
    { name: '@status' },
    ...carried(fields),
    { name: '@method', req: true },
    { name: '@authority', req: true },
    { name: '@path', req: true },
    { name: '@query', req: true },
    { name: 't-road-exchange', req: true },
    ...(binding.label === 'final' ? [{ name: DIGEST, req: true, ...inTrailers } as const] : []),
    { name: INPUT, req: true, ...inTrailers, key: binding.label },
    ...(mode === 'stream' && label === 'final' ? TRAILERS : []),
  ];
}

/** What is covered of messages that carry the same names in the same order. */
interface Shape {
  readonly variant: number;
  readonly names: readonly string[];
  readonly coverage: Coverage;
}

/**
 * Shapes kept: a gateway meets few, those of its systems' and services' programs, each in some of the variants. A head
 * has 16 KiB at most, so they take two megabytes if somebody sends the longest.
 */
const MAX_SHAPES = 48;

/** Seen lately. Each step forward is earned by a use: what comes once stays at the end, and goes again. */
const shapes: Shape[] = [];

/** {@link requestComponents}, prepared. @throws MalformedBytes when a name is there twice */
export function requestCoverage(fields: Fields, mode: Mode, label: Label): Coverage {
  return coverageOf(fields, variantOf(mode, label), () => requestComponents(fields, mode, label));
}

/** {@link responseComponents}, prepared. @throws MalformedBytes when a name is there twice */
export function responseCoverage(
  fields: Fields,
  mode: Mode,
  label: Label,
  binding: RequestBinding,
): Coverage {
  const variant = 16 | (variantOf(binding.mode, binding.label) << 2) | variantOf(mode, label);
  return coverageOf(fields, variant, () => responseComponents(fields, mode, label, binding));
}

const variantOf = (mode: Mode, label: Label): number =>
  (mode === 'full' ? 0 : 2) | (label === 'final' ? 0 : 1);

function coverageOf(fields: Fields, variant: number, components: () => readonly Component[]): Coverage {
  for (let at = 0; at < shapes.length; at++) {
    const shape = shapes[at] as Shape; // below the length
    if (shape.variant !== variant || !hasNames(fields, shape.names)) continue;
    if (at > 0) [shapes[at - 1], shapes[at]] = [shape, shapes[at - 1] as Shape];
    return shape.coverage;
  }
  const coverage = new Coverage(components());
  if (shapes.length === MAX_SHAPES) shapes.pop();
  shapes.push({ variant, names: fields.map(([name]) => name), coverage });
  return coverage;
}

function hasNames(fields: Fields, names: readonly string[]): boolean {
  if (fields.length !== names.length) return false;
  for (let at = 0; at < names.length; at++) if (fields[at]?.[0] !== names[at]) return false;
  return true;
}
