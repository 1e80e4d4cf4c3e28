import t from 'tap'
import { OddNumber, readDocument } from '../../src/config/document.ts'

const said = (text: string) =>
  readDocument(text).problems.map(({ line, column, message, fix }) => `${line}:${column} ${message}. ${fix}`)

t.test('values are plain, and maps have no prototype', async (t) => {
  const { value, readable, problems } = readDocument(
    'a: [1, "2", true, null, x]\nconstructor: { b: -3 }\n7: y\n? \n: z',
  )
  t.equal(readable, true)
  t.strictSame(problems, [])
  const map = value as Record<string, unknown>
  t.equal(Object.getPrototypeOf(map), null)
  t.strictSame(map['a'], [1, '2', true, null, 'x'])
  t.strictSame(Object.entries(map['constructor'] as object), [['b', -3]])
  t.equal(map['7'], 'y')
  t.equal(map[''], 'z')
  t.equal('toString' in map, false)
})

t.test('JSON is read like YAML', async (t) => {
  const { value } = readDocument('{\n\t"a": {"b": [1, "x"]}\n}')
  t.equal(JSON.stringify(value), '{"a":{"b":[1,"x"]}}')
})

t.test('a number that would be rounded or respelt keeps its text', async (t) => {
  const plain = ['0', '7', '-7', '9007199254740991', '562949953443325']
  for (const text of plain) t.equal(readDocument(`a: ${text}`).value?.['a' as never], Number(text))
  const odd = '9007199254740992 18446744073709551615 007 +7 0x10 0o17 1e3 1.0 -0 .inf .nan'.split(' ')
  for (const text of odd) {
    const value: unknown = readDocument(`a: ${text}`).value?.['a' as never]
    t.ok(value instanceof OddNumber, text)
    t.equal((value as OddNumber).source, text)
  }
  t.equal(readDocument('a: 1_000').value?.['a' as never], '1_000')
  const old: unknown = readDocument('%YAML 1.1\n---\na: 1_000\nb: 2020-01-01').value
  t.equal((old as { a: OddNumber }).a.source, '1_000')
  t.equal((old as { b: string }).b, '2020-01-01')
  t.equal(readDocument('a: !!binary aGk=').value?.['a' as never], 'aGk=')
})

t.test('an empty text, and one of comments alone, has no value', async (t) => {
  for (const text of ['', '# nothing\n', '---\n']) {
    const { value, problems, locate } = readDocument(text)
    t.equal(value, null)
    t.strictSame(problems, [])
    t.equal(locate(['a']).line, 1)
  }
})

t.test('a path is found where its deepest key that exists is written', async (t) => {
  const { locate } = readDocument('# x\na:\n  b: 1\n  c: [x,\n    y]\nd: &d { e: 1 }\nf: *d\n')
  t.strictSame(locate([]), { line: 2, column: 1 })
  t.strictSame(locate(['a', 'b']), { line: 3, column: 3 })
  t.strictSame(locate(['a', 'missing', 'deeper']), { line: 2, column: 1 })
  t.strictSame(locate(['a', 'c', 1]), { line: 5, column: 5 })
  t.strictSame(locate(['a', 'c', 9]), { line: 4, column: 3 })
  t.strictSame(locate(['a', 'b', 'c']), { line: 3, column: 3 })
  t.strictSame(locate(['f', 'e']), { line: 6, column: 9 })
  t.strictSame(readDocument('a: &x b\n*x : 1').locate(['b']), { line: 2, column: 1 })
})

t.test('a text that is no YAML is told with its place, and quotes nothing of it', async (t) => {
  const cases: [string, RegExp][] = [
    ['a: {b: 1', /^1:9 this is not valid YAML: Flow map .*\. Check indentation/],
    ['a:\n\tb: 1', /^2:1 .*Tabs are not allowed as indentation\. Indent with spaces/],
    ['a: 1\n---\nb: 1', /^2:1 .*there are several documents\. Put everything into one document/],
    ['secret: !s3cret', /^1:9 .*: Unresolved tag\. Quote a value that starts with an exclamation mark/],
    ['*: {a: 1}', /\. Quote a key or value that starts with a star: "\*"/],
    ['a: "s3cret" "s3cret"', /not valid YAML/],
  ]
  for (const [text, expected] of cases) {
    const lines = said(text)
    t.ok(
      lines.some((line) => expected.test(line)),
      `${lines}`,
    )
    t.notMatch(`${lines}`, /s3cret/)
    const { readable, value, locate } = readDocument(text)
    t.equal(readable, false)
    t.equal(value, undefined)
    t.strictSame(locate(['a']), { line: 1, column: 1 })
  }
})

t.test('keys that clash or can be no names are told all at once', async (t) => {
  t.strictSame(
    said('a: 1\na: 2\n"7": 1\n7: 2\n__proto__: 1\n? [b]\n: 3\nc: *s3cret').map((line) =>
      line.replace(/\. .*/, ''),
    ),
    [
      '2:1 this key exists twice',
      '4:1 this key exists twice',
      "5:1 this key can't be used",
      '6:3 a list or map is used as a key',
      '8:4 a value that starts with a star refers to an anchor, but there is no such anchor',
    ],
  )
})

t.test('tens of thousands of aliases are read at once', async (t) => {
  const before = process.cpuUsage()
  const { value, problems } = readDocument(`a: &x 1\nb: [${'*x,'.repeat(20_000)}]\nc: &x 2\nd: *x`)
  const { b, d } = value as { b: number[]; d: number }
  t.strictSame([b.length, new Set(b), d], [20_000, new Set([1]), 2])
  t.strictSame(problems, [])
  t.ok(process.cpuUsage(before).user < 4_000_000, 'microseconds')
})

t.test('aliases repeat a value, also as a key, but not without end', async (t) => {
  t.equal(JSON.stringify(readDocument('a: &x { b: 1 }\nc: *x').value), '{"a":{"b":1},"c":{"b":1}}')
  t.equal(JSON.stringify(readDocument('a: &x b\n*x : 1').value), '{"a":"b","b":1}')
  t.match(said('a: &x [*x]'), [/too long or too deeply nested/])
  const laughs = ['a0: &a0 [x, x, x, x, x, x, x, x, x]']
  for (let i = 1; i < 9; i += 1)
    laughs.push(
      `a${i}: &a${i} [${Array(9)
        .fill(`*a${i - 1}`)
        .join(', ')}]`,
    )
  const lines = said(laughs.join('\n'))
  t.equal(lines.length, 1)
  t.match(lines, [/too long or too deeply nested/])
})
