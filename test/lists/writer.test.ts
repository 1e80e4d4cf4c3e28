// Twin of src/lists/writer.ts.
import t from 'tap'
import { jsonWriter, ndjsonWriter } from '../../src/lists/writer.ts'

t.test('NDJSON has a row a line, and a line for what is missing', async (t) => {
  const writer = ndjsonWriter()
  t.equal(writer.begin([], true) + writer.rows([{ a: '1\n2' }, 5]) + writer.rows([]), '{"a":"1\\n2"}\n5\n')
  t.equal(writer.skipped({ project_id: 7, status: 403 }), '{"_error":{"project_id":7,"status":403}}\n')
  t.equal(writer.failed({ status: 502 }) + writer.end(), '{"_error":{"status":502}}\n')
})

t.test('JSON is one array over all pages', async (t) => {
  const writer = jsonWriter()
  const text = writer.begin([], true) + [[], [{ a: 1 }, 2], [], [3]].map(writer.rows).join('') + writer.end()
  t.same(JSON.parse(text), [{ a: 1 }, 2, 3])
  t.equal(text, '[\n{"a":1},\n2,\n3\n]\n')
  t.equal(jsonWriter().end(), '[]\n')
  t.equal(writer.skipped({ project_id: 7, status: 403 }) + writer.failed({}), '')
})
