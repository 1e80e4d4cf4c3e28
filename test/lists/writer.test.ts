// Twin of src/lists/writer.ts.
import t from 'tap'
import { readRows } from '../../src/lists/rows.ts'
import { readListTarget } from '../../src/lists/target.ts'
import { writerFor } from '../../src/lists/writer.ts'

const V1 = '/rest/v1.0/x'
const writerOf = (form: string, query = '', csvFormulas: 'escape' | 'keep' = 'escape') =>
  writerFor(readListTarget(`/_proxy/${form}${V1}${query}`), { csvFormulas })

interface Case {
  readonly query?: string
  readonly formulas?: 'escape' | 'keep'
  readonly hasMore?: boolean
}

/** The CSV of pages; the first decides the columns. */
function csv(pages: string[], { query, formulas, hasMore = pages.length > 1 }: Case = {}): string {
  const writer = writerOf('csv', query, formulas)
  const full = pages.map((page) => readRows(V1, Buffer.from(page))).filter((rows) => rows.length > 0)
  const text = writer.begin(full[0] ?? [], hasMore) + full.map((rows) => writer.rows([...rows])).join('')
  return text + writer.missing({}) + writer.end()
}

t.test('columns are the members of all rows of the first page, objects one level deep', async (t) => {
  const page =
    '[{"id":1,"company":null,"x":{}},{"id":2,"company":{"id":3,"name":"A"},"tags":["a",{"b":1}],"x":null},{"company":{"deep":{"er":1}}}]'
  t.equal(
    csv([page]),
    'id,company.id,company.name,company.deep,x,tags\r\n1,,,,{},\r\n2,3,A,,,"[""a"",{""b"":1}]"\r\n,,,"{""er"":1}",,\r\n',
  )
})

t.test('a CSV has a bounded number of columns, which is found out at once', async (t) => {
  const rowOf = (from: number, count: number) =>
    `{${Array.from({ length: count }, (_, nth) => `"m${from + nth}":1`).join()}}`
  const most = 4096
  t.equal(csv([`[${rowOf(0, most)}]`]).split(',').length, 2 * most - 1)
  t.equal(csv([`[${rowOf(0, most - 1)},{"a":${rowOf(0, 1)}}]`]).split(',').length, 3 * most - 2)
  for (const page of [
    `[${rowOf(0, most)},${rowOf(1, most)}]`,
    `[{"a":${rowOf(0, most + 1)}}]`,
    `[${Array.from({ length: 200 }, (_, nth) => rowOf(nth * 1_000, 1_000))}]`,
  ]) {
    const before = performance.now()
    t.throws(() => csv([page]), {
      code: 'list_too_long',
      message: /more than 4096 columns/,
      help: /_columns/,
    })
    t.ok(performance.now() - before < 2_000)
  }
  t.throws(() => csv(['[{}]'], { query: `?_columns=${'a,'.repeat(most + 1)}` }), { code: 'list_too_long' })
})

t.test('text is quoted where it must be, and numbers and truth stay as they are', async (t) => {
  t.equal(
    csv(['[{"a":"x,\\"y\\"","b":"1\\n2","c":true,"d":-1.50,"e":562949953443325123,"f":" z ","g":""}]']),
    'a,b,c,d,e,f,g\r\n"x,""y""","1\n2",true,-1.50,562949953443325123," z ",\r\n',
  )
})

t.test('a text that a spreadsheet would run is disarmed, unless it is to be kept', async (t) => {
  const texts = ['=1+1', '+1', '-1', '@A1', '\t=1', '\r=1']
  const rows = [JSON.stringify([...texts.map((a) => ({ a })), { a: 'a=1' }, { a: -1 }])]
  const lines = csv(rows).split('\r\n')
  t.same(lines, ['a', "'=1+1", "'+1", "'-1", "'@A1", "'\t=1", `"'\r=1"`, 'a=1', '-1', ''])
  t.match(csv(rows, { formulas: 'keep' }), /^a\r\n=1\+1\r\n\+1\r\n/)
  t.equal(csv(['[{"=1":1}]']), "'=1\r\n1\r\n", 'names of columns too')
  t.equal(csv(['[{"a":-1.0}]']), 'a\r\n-1.0\r\n', 'but no number, however it is held')
})

t.test('what comes up later goes into a last column', async (t) => {
  const pages = [
    '[{"id":1,"c":{"id":1},"n":null}]',
    '[{"id":2,"c":{"id":2,"x":3},"n":{"a":1},"y":[1],"z":null,"e":{}}]',
  ]
  t.equal(csv(pages), 'id,c.id,n,_more\r\n1,1,,\r\n2,2,"{""a"":1}","{""c.x"":3,""y"":[1],""e"":{}}"\r\n')
  t.equal(
    csv(['[{"_more":5,"id":1}]', '[{"id":2,"_more":6,"late":7}]', '[{"id":3,"_more":{"a":1}}]']),
    'id,_more\r\n1,"{""_more"":5}"\r\n2,"{""_more"":6,""late"":7}"\r\n3,"{""_more.a"":1}"\r\n',
    'rows with a member of that name',
  )
  t.equal(csv(['[{"_more":5,"id":1}]']), '_more,id\r\n5,1\r\n')
  t.equal(csv(['[{"_more":5,"id":1}]'], { query: '?_columns=_more,id' }), '_more,id\r\n"{""_more"":5}",1\r\n')
  t.equal(csv(['[{"id":1}]', '[{"id":2,"c":5}]'], { hasMore: false }), 'id\r\n1\r\n2\r\n')
})

t.test('the caller picks and orders columns, and may want a byte-order mark', async (t) => {
  const pages = ['[{"id":1,"c":{"id":1},"a.b":7}]', '[{"id":2,"x":1}]']
  t.equal(csv(pages, { query: '?_columns=c.id,id,none,a.b' }), 'c.id,id,none,a.b\r\n1,1,,7\r\n,2,,\r\n')
  t.equal(
    csv(pages, { query: '?_columns=id,_more&_bom=1' }),
    '\uFEFFid,_more\r\n1,"{""c.id"":1,""a.b"":7}"\r\n2,"{""x"":1}"\r\n',
  )
  t.equal(
    csv(pages, { query: '?_columns=c' }),
    'c\r\n"{""id"":1}"\r\n""\r\n',
    'an empty line would be no row',
  )
})

t.test('an object with a column of its own fills the columns of its members too', async (t) => {
  t.equal(csv(['[{"id":1,"c":{"id":5}},{"id":2,"c":7}]']), 'id,c,c.id\r\n1,"{""id"":5}",5\r\n2,7,\r\n')
  t.equal(
    csv(['[{"id":1,"c":{"name":"A","x":2}}]'], { query: '?_columns=c.name,id,c,_more' }),
    'c.name,id,c,_more\r\nA,1,"{""name"":""A"",""x"":2}",\r\n',
  )
})

t.test('an empty list has the columns that were asked for, or none', async (t) => {
  t.equal(csv(['[]']), '')
  t.equal(csv(['[]'], { query: '?_columns=id' }), 'id\r\n')
  const inherited = '__proto__.toString,constructor.name,c.__proto__'
  t.equal(csv(['[{"id":1,"c":{}}]'], { query: `?_columns=${inherited},id` }), `${inherited},id\r\n,,,1\r\n`)
  t.equal(csv(['[{"id":1}]'], { query: '?_columns=' }), 'id\r\n1\r\n')
  t.equal(csv(['[{"id":1}]'], { query: '?_columns=+,' }), 'id\r\n1\r\n')
  t.equal(csv(['[{},{}]']), '', 'rows without members are no lines')
  t.equal(csv(['[5,"a"]']), 'value\r\n5\r\na\r\n')
})

t.test('NDJSON has a row a line, and a line for what is missing', async (t) => {
  const writer = writerOf('ndjson')
  t.equal(writer.begin([], true) + writer.rows([{ a: '1\n2' }, 5]) + writer.rows([]), '{"a":"1\\n2"}\n5\n')
  t.equal(writer.missing({ project_id: 7, status: 403 }), '{"_error":{"project_id":7,"status":403}}\n')
  t.equal(writer.missing({ status: 502 }) + writer.end(), '{"_error":{"status":502}}\n')
})

t.test('JSON is one array over all pages', async (t) => {
  const writer = writerOf('json')
  const text = writer.begin([], true) + [[], [{ a: 1 }, 2], [], [3]].map(writer.rows).join('') + writer.end()
  t.same(JSON.parse(text), [{ a: 1 }, 2, 3])
  t.equal(text, '[\n{"a":1},\n2,\n3\n]\n')
  t.equal(writerOf('json').end(), '[]\n')
  t.equal(writer.missing({ project_id: 7, status: 403 }) + writer.missing({}), '')
})

t.test('a column with thousands of dots takes hardly more time than another one', (t) => {
  const rows = `[${'{"id":1,"a":{"b":1}},'.repeat(200)}{}]`
  const timeOf = (column: string) => {
    const start = performance.now()
    t.match(csv([rows], { query: `?_columns=${column},a.b,a` }), /^\S+\r\n,1,"\{""b"":1\}"\r\n/)
    return performance.now() - start
  }
  timeOf('a.a')
  t.ok(timeOf('a.'.repeat(15_000)) < 20 * timeOf('aa'.repeat(15_000)))
  t.end()
})
