// Twin of src/server/listeners.ts; test/cli/start.test.ts tries it with real proxies.
import { once } from 'node:events'
import { existsSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { clearStaleSocket } from '../../src/server/listeners.ts'

t.test('only a stale socket makes way', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'pp-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const path = join(folder, 'p.sock')
  await clearStaleSocket(path)

  const server = createServer().listen(path)
  await once(server, 'listening')
  await t.rejects(clearStaleSocket(path), /another process listens there/)
  // If the file is moved, it is not removed with its server.
  renameSync(path, `${path}.kept`)
  server.close()
  await once(server, 'close')
  renameSync(`${path}.kept`, path)
  await clearStaleSocket(path)
  t.notOk(existsSync(path))

  writeFileSync(path, 'mine')
  await t.rejects(clearStaleSocket(path), /is not a socket/)
  t.ok(existsSync(path))
  symlinkSync(path, `${path}.link`)
  await t.rejects(clearStaleSocket(`${path}.link`), /is not a socket/)
  await t.rejects(clearStaleSocket(join(path, 'below')), { code: 'ENOTDIR' })
})
