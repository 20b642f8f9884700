import t from 'tap';
import { requireUniqueMembers } from './unique-members.ts';

void t.test('a member that is there twice, however it is spelled', (t) => {
  for (const good of ['1', '"a:a"', '{}', '{"a":{"a":1},"b":[{"a":1},{"a":1}]}', '{"a":"\\"a\\":"}'])
    t.doesNotThrow(() => requireUniqueMembers(good, 3), good);
  for (const bad of ['{"a":1,"a":1}', '[{"a":1,"b":2,"\\u0061":3}]', '{"b":{"a":1,"x":[],"a":1}}'])
    t.throws(
      () => requireUniqueMembers(bad, 3),
      { name: 'MalformedBytes', message: /^a is there twice/ },
      bad,
    );
  t.throws(() => requireUniqueMembers('{"__proto__":1}', 3), { message: /no name of a member/ });
  t.throws(() => requireUniqueMembers('[[[[]]]]', 3), { message: /too deeply/ });
  t.end();
});
