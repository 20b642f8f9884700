import { ConfigError, MalformedBytes, quoted } from '../../core/errors.ts';
import { naming } from '../../core/file-errors.ts';
import { requireUniqueMembers } from '../../core/unique-members.ts';

const MAX_DEPTH = 100;

/** Of a value in its file: only numbers, texts and words have one. */
interface Source {
  readonly source?: string;
}

/**
 * A file of a policy's data, if everybody reads the same in it: `opa`, which it is tested with, the gateway, and whoever
 * looks it over.
 * @throws ConfigError
 */
export function parseDataFile(
  file: string,
  content: Buffer,
): { readonly text: string; readonly value: unknown } {
  return naming(file, () => {
    let text: string;
    let value: unknown;
    const inexact: string[] = [];
    try {
      text = new TextDecoder('utf-8', { fatal: true }).decode(content);
      value = JSON.parse(text, (name: string, each: unknown, { source = '' }: Source = {}) => {
        if (typeof each === 'number' && decimal(source) !== decimal(String(each)))
          inexact.push(`${quoted(name)}: ${quoted(source)} would be read as ${JSON.stringify(each)}`);
        return each;
      });
    } catch (cause) {
      throw new MalformedBytes(`is not JSON in UTF-8: ${quoted(String(cause), 200)}  不是 UTF-8 的 JSON`);
    }
    requireUniqueMembers(text, MAX_DEPTH);
    if (inexact.length > 0)
      throw new ConfigError(inexact.map((what) => `${what}: write a number of fewer digits  數字位數過多`));
    return { text, value };
  });
}

/** A number of JSON in one spelling: significant digits, and where the point is. */
function decimal(text: string): string {
  const [, sign = '', whole = '', fraction = '', exponent = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text) ?? [];
  const digits = `${whole}${fraction}`.replace(/^0+/, '');
  const significant = digits.replace(/0+$/, '');
  if (significant === '') return '0';
  return `${sign}${significant}e${Number(exponent) - fraction.length + digits.length - significant.length}`;
}
