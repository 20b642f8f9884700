/** The schema knows of values alone; a setting that nobody wrote is the commonest mistake. */
export function inWords(message: string): string {
  const [, expected, found] =
    /^Invalid input: expected (\w+), received (undefined|null)$/.exec(message) ?? [];
  if (expected === undefined) return message;
  const word = { object: 'settings', array: 'a list' }[expected] ?? `a ${expected}`;
  const what = found === 'null' ? 'is empty' : 'is missing';
  return `${what}: expected ${word}; troad init writes an example, troad config schema tells all  缺少必要的設定`;
}
