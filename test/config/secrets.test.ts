import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { SecretSource } from '../../src/config/schema.ts'
import { readSecret, secretFile } from '../../src/config/secrets.ts'
import { ConfigFolder } from '../fixtures/config-folder.ts'

const node = (script: string): string[] => [process.execPath, '-e', script]

function reader(folder: string, env: NodeJS.ProcessEnv = {}, platform: NodeJS.Platform = 'linux') {
  return async (source: SecretSource) => {
    const result = await readSecret(source, { env, folder, platform })
    return typeof result === 'string' ? result : `! ${result.message}. ${result.fix}`
  }
}

t.test('a secret may be in the file itself', async (t) => {
  const read = reader('/')
  t.equal(await read(' s3cret '), ' s3cret ')
  t.equal(await read('  '), '! the value is empty. Write the value')
})

t.test('a secret may be in a variable', async (t) => {
  const read = reader('/', { SET: 's3cret\n', EMPTY: '', BLANK: ' ' })
  t.equal(await read({ env: 'SET' }), 's3cret\n')
  t.equal(
    await read({ env: 'EMPTY' }),
    '! the variable EMPTY is not set. Set EMPTY in the environment of the proxy',
  )
  t.match(await read({ env: 'UNSET' }), /^! the variable UNSET is not set/)
  t.match(await read({ env: 'BLANK' }), /^! the variable BLANK is empty/)
})

t.test('a secret may be in a file of its own, and one final newline is removed', async (t) => {
  const folder = new ConfigFolder(t.testdir())
  const read = reader(folder.path)
  const cases: [string, string][] = [
    ['s3cret', 's3cret'],
    ['s3cret\n', 's3cret'],
    ['s3cret\r\n', 's3cret'],
    ['s3cret\n\n', 's3cret\n'],
    [' s3cret ', ' s3cret '],
  ]
  for (const [text, expected] of cases) {
    const file = folder.write('secret', text)
    t.equal(await read({ file }), expected)
    t.equal(await read({ file: 'secret' }), expected, "relative to the configuration file's folder")
  }
  folder.write('secret', '\n')
  t.match(await read({ file: 'secret' }), /^! .*\/secret is empty\. Write the secret into it/)
  t.match(await read({ file: 'missing' }), /^! .*\/missing does not exist/)
  folder.write('secret', 'x'.repeat(64 * 1024 + 1))
  t.match(await read({ file: 'secret' }), /larger than 64 KiB/)
  t.equal(secretFile({ file: 'a' }, '/x'), '/x/a')
  t.equal(secretFile({ env: 'a' }, '/x'), undefined)
  t.equal(secretFile('a', '/x'), undefined)
})

t.test("a secret's file that other users can read is refused, except on Windows", async (t) => {
  const folder = new ConfigFolder(t.testdir())
  for (const mode of [0o644, 0o640, 0o604, 0o660, 0o601]) {
    const file = folder.write('secret', 's3cret', mode)
    t.equal(
      await reader(folder.path)({ file }),
      `! other users can read ${file} (mode ${mode.toString(8)}). chmod 600 ${file}`,
    )
    t.equal(await reader(folder.path, {}, 'win32')({ file }), 's3cret')
  }
})

t.test('a file below /run/secrets may be readable, but a path that leaves it again may not', async (t) => {
  const systemds = `/run/credentials/procore-proxy-test-${process.pid}.service`
  const folder = new ConfigFolder(t.testdir())
  const file = folder.write('secret', 's3cret', 0o644)
  const read = reader('/')
  t.match(await read({ file: `/run/secrets/../..${file}` }), /^! other users can read/)
  t.match(await read({ file: '/run/secrets' }), /^! /, 'the folder itself is no secret')
  try {
    mkdirSync('/run/secrets', { recursive: true })
    new ConfigFolder('/run/secrets').write(`procore-proxy-test-${process.pid}`, 's3cret\n', 0o644)
    mkdirSync(systemds, { recursive: true })
    new ConfigFolder(systemds).write('secret', 's3cret', 0o440)
  } catch {
    t.comment('/run may not be written here')
    return
  }
  t.teardown(() => rmSync(systemds, { recursive: true }))
  const mounted = `/run/secrets/procore-proxy-test-${process.pid}`
  t.teardown(() => rmSync(mounted))
  t.equal(await read({ file: mounted }), 's3cret')
  t.equal(await read({ file: `/x/../run/secrets/./procore-proxy-test-${process.pid}` }), 's3cret')
  t.equal(await read({ file: `${systemds}/secret` }), 's3cret')
})

t.test('a secret may be what a program prints, without a shell', async (t) => {
  const folder = new ConfigFolder(t.testdir())
  const read = reader(folder.path, { NAME: 's3cret' })
  const timeout = 20_000
  const from = (script: string, ...args: string[]) => read({ command: [...node(script), ...args], timeout })
  t.equal(await from('process.stdout.write("s3cret\\r\\n")'), 's3cret')
  t.equal(await from('console.log(process.argv[1])', '$(id); `id`'), '$(id); `id`')
  t.equal(await from('console.log(process.env.NAME)'), 's3cret')
  t.equal(await from('console.log(process.cwd())'), folder.path)
  t.equal(await from('process.stdin.on("end", () => console.log("asked")).resume()'), 'asked')
  t.match(await from(''), /^! the output of .* is empty/)
})

t.test('a program that fails is told without what it printed', async (t) => {
  const read = reader(t.testdir())
  const from = (script: string, timeout = 20_000) => read({ command: node(script), timeout })
  const failed = await from('console.log("s3cret"); console.error("s3cret"); process.exitCode = 3')
  t.match(failed, /failed \(exit status 3\)\. Run it by hand to see why, as its output is not shown here/)
  t.notMatch(failed, /s3cret/)
  t.match(await from('process.kill(process.pid, "SIGTERM"); setTimeout(() => {}, 9e3)'), /failed \(SIGTERM\)/)
  t.match(
    await from('process.on("SIGTERM", () => {}); setInterval(() => {}, 1000)', 300),
    /did not finish within 300ms\. Make it faster, or increase its timeout/,
  )
  t.match(await from('process.stdout.write("x".repeat(1e6))'), /printed more than 64 KiB/)
  t.match(
    await read({ command: ['no-such-program-here'], timeout: 1000 }),
    /no-such-program-here was not found/,
  )
  t.match(await read({ command: [join(t.testdirName, '.')], timeout: 1000 }), /failed \(EACCES\)/)
  t.match(await read({ command: ['a\0b'], timeout: 1000 }), /can't be started/)
})
