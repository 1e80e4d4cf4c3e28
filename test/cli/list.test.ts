// Twin of src/cli/list.ts and src/cli/list-progress.ts: whole lists into files, without a running proxy.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { list } from '../../src/cli/list.ts'
import { ListProgress } from '../../src/cli/list-progress.ts'
import { startFakeProcore } from '../../src/fake/procore.ts'
import { ACME, settingsFor } from '../fixtures/proxy.ts'

async function start(t: Test) {
  const fake = await startFakeProcore({ companies: [{ id: ACME, name: 'Acme', projects: 2, rfis: 3 }] })
  t.teardown(() => fake.close())
  const folder = t.testdir()
  const config = join(folder, 'procore-proxy.yaml')
  const guard = { clientKeys: ['a-key-of-24-characters-00'], requireHeader: true }
  const over = { companies: { acme: { id: ACME, serviceAccount: 'app' } }, guard, lists: { enabled: false } }
  writeFileSync(config, JSON.stringify(settingsFor(fake, over)), { mode: 0o600 })
  const output = join(folder, 'out')
  return {
    fake,
    config,
    output,
    run: (path: string, format?: string) => list(path, { config, output, ...(format && { format }) }),
  }
}

t.test('a whole list is written to a file, in each form', async (t) => {
  const { run, output } = await start(t)
  await run('/rest/v1.0/projects/*/rfis?_columns=project_id,number')
  t.match(readFileSync(output, 'utf8'), /^project_id,number\r\n1000001,1\r\n1000001,2\r\n/)
  await run('/acme/rest/v1.0/projects', 'json')
  t.equal(JSON.parse(readFileSync(output, 'utf8')).length, 2)
  t.notOk(existsSync(`${output}.part`))
})

t.test('anything that is missing is an error, and only a complete file appears', async (t) => {
  const { fake, run, config, output } = await start(t)
  await t.rejects(run('/rest/v1.0/me'), { status: 1, message: /not a JSON array/ })
  await t.rejects(run('/rest/v1.0/nothing'), { status: 1, message: /Procore answered 404: \{"errors"/ })
  await t.rejects(run('nothing'), { status: 2, message: /no path/ })
  fake.faults.notConnected({ match: '/rest/v1.0/projects/1000002/' })
  fake.faults.reset('mid-body', { match: (_, url) => url.includes('&page=2') })
  await t.rejects(run('/rest/v1.0/projects/1000001/rfis?per_page=2'), {
    status: 1,
    message: /not complete: other side closed/,
  })
  t.notOk(existsSync(output) || existsSync(`${output}.part`))
  await t.rejects(run('/rest/v1.0/projects/*/rfis', 'ndjson'), { status: 1, message: /^1 of the projects/ })
  t.equal(readFileSync(output, 'utf8').split('\n').length, 5)
  await t.rejects(list('/rest/v1.0/projects', { config, output: join(output, 'in-a-file') }), {
    message: /ENOTDIR/,
  })
})

t.test('progress is shown on a terminal, and warnings anywhere', async (t) => {
  const shown = (isTTY: boolean) => {
    const texts: string[] = []
    const progress = new ListProgress({ isTTY, write: (text: string) => texts.push(text) > 0 } as never)
    const page = (received: number, number = 1, of = 1) =>
      progress.write(
        JSON.stringify({
          level: 'debug',
          msg: 'a page of a list',
          received,
          total: 4000,
          project: { number, of },
        }),
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
    /25 % {2}1,000 rows.*50 % {2}2,000 rows.*56 % {2}2,500 rows, project 2 of 2.*passed over 7 \(403\)\n/s,
  )
  t.equal(shown(false), 'projects were passed over 7 (403)\n')
})
