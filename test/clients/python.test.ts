// A Python script as people write it: with requests where that is installed, and with the standard library alone.
import { execFile, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { startRig } from '../fixtures/proxy.ts'

const SCRIPT = fileURLToPath(new URL('python.py', import.meta.url))
const has = (code: string) => spawnSync('python3', ['-c', code]).status === 0
/** Without site packages there is no requests. */
const WAYS: [string, string[], boolean][] = [
  ['urllib', ['-S', '-E'], has('pass')],
  ['requests', [], has('import requests')],
]

for (const [by, flags, isThere] of WAYS) {
  t.test(by, isThere ? {} : { skip: 'not installed here' }, async (t) => {
    const { url } = await startRig(t)
    for (const base of [`${url}/acme`, url.replace('127.0.0.1', 'acme.localhost')]) {
      // urllib asks the resolver, which need not know names below localhost.
      if (base.includes('acme.localhost') && !has("import socket; socket.getaddrinfo('acme.localhost', 80)"))
        continue
      const [error, out, err] = await new Promise<[Error | null, string, string]>((resolve) => {
        execFile('python3', [...flags, SCRIPT, base], (...ended) => resolve(ended))
      })
      t.equal(error, null, err)
      t.strictSame(JSON.parse(out), { by, projects: 45 })
    }
  })
}
