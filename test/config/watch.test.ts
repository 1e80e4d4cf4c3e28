import { chmodSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { watchFiles } from '../../src/config/files.ts'
import { ConfigFolder } from '../fixtures/config-folder.ts'

/** Real files on a real disk have no fake clock: short looks, and long enough patience. */
const intervalMs = 10

t.test('each way of changing a file is noticed, once', async (t) => {
  const folder = new ConfigFolder(t.testdir())
  const file = folder.write('a/config.yaml', 'one')
  folder.write('b/config.yaml', 'two')
  const link = join(folder.path, 'current')
  symlinkSync('a', link)
  const linked = join(link, 'config.yaml')
  const late = join(folder.path, 'late')

  const calls: true[] = []
  t.teardown(watchFiles([file, linked, late], () => calls.push(true), intervalMs))

  const ways: [string, () => void][] = [
    ['written', () => writeFileSync(file, 'two')],
    [
      'written twice in a row',
      () => {
        writeFileSync(file, '')
        writeFileSync(file, 'three')
      },
    ],
    ['replaced', () => renameSync(folder.write('new', 'three'), file)],
    ['touched', () => utimesSync(file, 1, 1)],
    ['given other rights', () => chmodSync(file, 0o640)],
    ['created', () => writeFileSync(late, 'x')],
    ['removed', () => rmSync(late)],
    [
      'behind a symlink that is swapped',
      () => {
        symlinkSync('b', `${link}.new`)
        renameSync(`${link}.new`, link)
      },
    ],
  ]
  for (const [title, change] of ways) {
    const before = calls.length
    change()
    while (calls.length === before) await sleep(intervalMs)
    await sleep(4 * intervalMs)
    t.equal(calls.length, before + 1, title)
  }
})

t.test('nothing is called without a change, nor after the end', async (t) => {
  const file = new ConfigFolder(t.testdir()).write('a', 'one')
  const calls: true[] = []
  const stop = watchFiles([file], () => calls.push(true), intervalMs)
  await sleep(4 * intervalMs)
  t.equal(calls.length, 0)
  stop()
  writeFileSync(file, 'two')
  await sleep(4 * intervalMs)
  t.equal(calls.length, 0)
  t.doesNotThrow(watchFiles([], () => {}))
})
