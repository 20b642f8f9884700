import { ConfigError } from '../core/errors.ts';
import { naming } from '../core/file-errors.ts';
import { requireUniqueMembers } from '../core/unique-members.ts';
import { contentOf } from '../node/named-file.ts';

const MAX_DEPTH = 100;

/**
 * Content of a file that the command line names.
 * @param option that names it, `--key`; empty for an argument
 * @param parse what reads it: what it finds wrong gets the name of the file
 * @throws ConfigError what is wrong, with which file, and what to do
 */
export const readInput = <T>(option: string, path: string, parse: (bytes: Buffer) => T): T =>
  naming(`${option} ${path}`.trim(), () => parse(contentOf(path)));

/** For {@link readInput}: the bytes as they are. */
export const bytes = (content: Buffer): Buffer => content;

/** For {@link readInput}. @throws ConfigError */
export function json(content: Buffer): unknown {
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(content);
    value = JSON.parse(text);
  } catch (cause) {
    throw new ConfigError([`is not JSON in UTF-8: ${String(cause)}  不是 UTF-8 的 JSON`]);
  }
  requireUniqueMembers(text, MAX_DEPTH);
  return value;
}
