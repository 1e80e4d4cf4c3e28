// Covers src/cli/list.ts.
import t from 'tap'
import { listProgress } from '../../src/cli/list.ts'

t.test('progress is shown on a terminal, and missing projects anywhere', async (t) => {
  const shown = (isTTY: boolean) => {
    const texts: string[] = []
    const progress = listProgress({ isTTY, write: (text: string) => texts.push(text) > 0 } as never)
    const page = (received: number, number = 1, of = 1) =>
      progress.write(
        JSON.stringify({ msg: 'a page of a list', received, total: 4000, project: { number, of } }),
      )
    page(1000)
    page(2000)
    page(500, 2, 2)
    progress.write('{"level":"info","msg":"else"}')
    progress.write('{"level":"warn","msg":"projects were passed over","projects":["7 (403)"]}')
    progress.end()
    return texts.join('')
  }
  t.match(
    shown(true),
    /25 % {2}1,000 rows.*50 % {2}2,000 rows.*56 % {2}2,500 rows, project 2 of 2.*passed over: 7 \(403\)\n/s,
  )
  t.equal(shown(false), 'projects were passed over: 7 (403)\n')
})
