import t from 'tap';
import { sha256 } from '../core/bytes.ts';
import { formatRelayedDevice, parseRelayedDevice, parseShownDevice } from './device-field.ts';

const token = 'aaa.bbb.ccc';
const binding = 'B'.repeat(86);
const certificate = sha256('certificate');
const key = sha256('key');
const exporter = sha256('exporter');

void t.test('what a client shows', async (t) => {
  t.strictSame(parseShownDevice(`result="${token}"`), { token, binding: undefined });
  t.strictSame(parseShownDevice(`result="${token}", binding="${binding}"`), { token, binding });
  t.strictSame(parseShownDevice(`result="${token}",binding="${binding}"`), { token, binding });
  for (const text of [
    '',
    token,
    `result=${token}`,
    `result="${token}"; x`,
    `result="${token}", binding="${binding}A"`,
    `result="${token}", binding="${binding}", binding="${binding}"`,
    `binding="${binding}", result="${token}"`,
    `result="${token}", exporter=:AAAA:`,
    `result="a.b"`,
  ]) {
    t.throws(() => parseShownDevice(text), { code: 'device.result' }, text);
  }
});

void t.test('what a gateway relays has one spelling', async (t) => {
  for (const field of [
    { token, binding, exporter, certificate, key },
    { token, binding: undefined, exporter: undefined, certificate, key },
  ]) {
    const text = formatRelayedDevice(field);
    t.strictSame(parseRelayedDevice(text), field);
    for (const other of [
      text.slice(0, -1),
      `${text} `,
      text.replace(', ', ','),
      text.replace('result', 'Result'),
      // The last character of a hash of 32 bytes has two bits to spare.
      text.replace(/.=:$/, (end) => `${String.fromCharCode(end.charCodeAt(0) + 1)}=:`),
      `${text}, trusted`,
    ]) {
      t.throws(() => parseRelayedDevice(other), { code: 'message.inconsistent' }, other);
    }
  }
  const unbound = formatRelayedDevice({ token, binding: undefined, exporter, certificate, key });
  t.notMatch(unbound, 'exporter', 'nothing is measured by it');
});
