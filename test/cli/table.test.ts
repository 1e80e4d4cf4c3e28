// Tables for a terminal.
import t from 'tap'
import { renderTable } from '../../src/cli/table.ts'

t.test('columns are as wide as their widest cell', async (t) => {
  t.equal(renderTable(['a', 'name'], [['1', 'x'], ['22']], 80), 'a   name\n1   x\n22\n')
})

t.test('colours take no room', async (t) => {
  t.equal(renderTable(['', 'x'], [['\x1b[32mok\x1b[39m', '1']], 80), '    x\n\x1b[32mok\x1b[39m  1\n')
})

t.test('if a row is too wide, the widest columns are narrowed, and their cells wrapped', async (t) => {
  const text = renderTable(['id', 'detail'], [['562949953443325', 'one two three four five six seven']], 35)
  const lines = [
    'id               detail',
    '562949953443325  one two three four',
    '                 five six seven',
  ]
  t.equal(text, `${lines.join('\n')}\n`)
  for (const line of text.split('\n')) t.ok(line.length <= 35)
  const long = renderTable(['id'], [['x'.repeat(30)]], 20)
  t.match(long, `${'x'.repeat(20)}\n${'x'.repeat(10)}\n`, 'or in a long word')
})

t.test('no column is made too narrow to read', async (t) => {
  t.match(renderTable(['a', 'b'], [['x'.repeat(40), 'y'.repeat(40)]], 5), /^x{12} {2}y{12}$/m)
})
