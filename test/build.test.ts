// Covers scripts/build.ts and scripts/entry.cjs: the program in one file that needs no packages. The server to embed is in
// test/package.test.ts.
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { transformSync } from 'esbuild'
import t, { type Test } from 'tap'
import { type Run, run, runToEnd, shortFolder, startPlace } from './fixtures/cli.ts'
import { serves } from './fixtures/program.ts'
import { words } from './fixtures/words.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')
const { version, dependencies, engines } = JSON.parse(read('package.json')) as {
  version: string
  dependencies: Record<string, string>
  engines: { node: string }
}

// `env`: tap adds a loader to the environment of every child process, which only the sources need.
execFileSync('env', ['-u', 'NODE_OPTIONS', process.execPath, join(ROOT, 'scripts/build.ts')], {
  stdio: ['ignore', 'ignore', 'inherit'],
})

/** Copies what an image contains: the bundle and the page, and no packages in any folder above them. */
function install(t: Test): { folder: string; main: string } {
  const folder = shortFolder(t)
  mkdirSync(join(folder, 'dist'))
  for (const part of ['dist/bin', 'dist/page', 'completions', 'package.json'])
    cpSync(join(ROOT, part), join(folder, part), { recursive: true })
  return { folder, main: join(folder, 'dist/bin/procore-proxy.cjs') }
}

t.test('the bundle runs without any package', async (t) => {
  // What few commands need is in files of its own.
  const chunks = words`clack-prompts.cjs papaparse.cjs prom-client.cjs redis-client.cjs`
  t.strictSame(
    readdirSync(join(ROOT, 'dist/bin')).sort(),
    ['LICENSES.txt', 'procore-proxy.cjs', 'program.cjs', ...chunks].sort(),
  )
  const { main } = install(t)
  const place = await startPlace(t)
  const end = (...args: string[]) => runToEnd(t, args, { cwd: place.folder, main })
  t.match(await end('--version'), { code: 0, out: `${version}\n` })
  await serves(t, place, main)
  t.match(await end('check', '-c', place.file), { code: 0 })
  t.match(await end('demo', '--once'), { code: 0 })
  t.match(await end('completion', 'bash'), { code: 0, out: /complete/ })
  t.equal((await end('schema')).out, read('config/procore-proxy.schema.json'))
  const wrong = join(place.folder, 'wrong.yaml')
  writeFileSync(wrong, 'listn: 1\n', { mode: 0o600 })
  t.match(await end('start', '-c', wrong), { code: 2, err: /listen/ })
})

t.test('compiled code is kept beside the program, and nothing depends on it', async (t) => {
  const { folder, main } = install(t)
  const file = join(folder, 'dist/compiled/program.bin')
  const end = (...args: string[]) => runToEnd(t, args, { cwd: folder, main })
  t.ok(existsSync(join(ROOT, 'dist/compiled/program.bin')), 'the build makes it')
  t.match(await end('--version'), { code: 0, err: '' })
  t.match(await end('start'), { code: 2 })
  t.notOk(existsSync(file), 'not by a run that needs little of the program, or that fails')
  t.match(await end('demo', '--once'), { code: 0, err: '' })
  const kept = readFileSync(file)
  t.match(await end('demo', '--once'), { code: 0, err: '' })
  t.ok(kept.equals(readFileSync(file)), 'it is used as it is')
  const damaged = Buffer.from(kept)
  damaged[kept.length - 1]! ^= 1
  for (const content of [damaged, kept.subarray(0, 5000), Buffer.alloc(0)]) {
    writeFileSync(file, content)
    t.match(await end('--version'), { code: 0, out: `${version}\n`, err: '' })
  }
  writeFileSync(main.replace('procore-proxy.cjs', 'program.cjs'), `${read('dist/bin/program.cjs')}\n`)
  writeFileSync(file, kept)
  t.match(await end('demo', '--once'), { code: 0, err: '' })
  t.notOk(kept.equals(readFileSync(file)), 'code of another program is replaced')
  writeFileSync(join(folder, 'file'), '')
  execFileSync('sh', ['-c', 'rm -r dist/compiled && ln -s ../file dist/compiled'], { cwd: folder })
  t.match(await end('demo', '--once'), { code: 0, err: '' }, 'a folder that cannot be made is no failure')
  execFileSync('sh', ['-c', 'rm dist/compiled && mkdir -p dist/compiled/program.bin/x'], { cwd: folder })
  t.match(await end('demo', '--once'), { code: 0, err: '' })
  t.strictSame(readdirSync(join(folder, 'dist/compiled')), ['program.bin'], 'nothing is left half-written')
})

t.test('compiled code is kept soon after a start, also where no command is named', async (t) => {
  const { folder, main } = install(t)
  const file = join(folder, 'dist/compiled/program.bin')
  const place = await startPlace(t)
  const start = async () => {
    const proxy = run(t, ['-c', place.file], { cwd: place.folder, main })
    await proxy.ready()
    for (const end = Date.now() + 20_000; !existsSync(file) && Date.now() < end; ) await sleep(50)
    t.ok(existsSync(file), 'while it runs')
    return proxy
  }
  const stop = async (proxy: Run) => {
    proxy.kill('SIGTERM')
    t.match(await proxy.end(), { code: 0, err: '' })
  }
  await stop(await start())
  const kept = readFileSync(file)
  await stop(await start())
  t.ok(kept.equals(readFileSync(file)), 'the next start uses it')
  rmSync(file)
  const removed = await start()
  rmSync(join(folder, 'dist'), { recursive: true })
  await stop(removed)
  t.notOk(existsSync(join(folder, 'dist')), 'a program that was removed meanwhile stays away')
})

t.test('the entry tells an old Node what to do, in code that it can read', async (t) => {
  const entry = read('scripts/entry.cjs')
  // esbuild reports what it would have to rewrite for the oldest form of the language.
  const { code } = transformSync(entry, { target: 'es5', minify: false })
  t.notMatch(entry, /=>|\b(?:const|let|class|async)\b|`|node:/)
  t.ok(code.length > 0)
  t.match(entry, `< ${engines.node.replace('>=', '')})`, 'as package.json says')
  const { folder } = install(t)
  const old = join(folder, 'old.cjs')
  writeFileSync(old, "Object.defineProperty(process.versions, 'node', { value: '20.20.2' })")
  const main = join(folder, 'dist/bin/procore-proxy.cjs')
  const args = ['-u', 'NODE_OPTIONS', process.execPath, '--require', old, main, '--version']
  const { status, stdout, stderr } = spawnSync('env', args, { encoding: 'utf8' })
  t.strictSame([status, stdout], [2, ''])
  t.match(
    stderr,
    /^procore-proxy: this program needs Node\.js 24 or later, but .* 20\.20\.2: install [^\n]*\n$/,
  )
})

t.test('the licence of every package in the bundle comes with it', async (t) => {
  const licences = read('dist/bin/LICENSES.txt')
  for (const name of Object.keys(dependencies).filter((name) => read('dist/bin/program.cjs').includes(name)))
    t.match(licences, new RegExp(`^${name} \\d`, 'm'), name)
  const names = [...licences.matchAll(/^\S+ \d\S* \((.*)\)$/gm)]
  t.ok(names.length > 50)
  for (const [, licence] of names) t.match(licence, /^(MIT|ISC|Apache-2.0|BSD-[23]-Clause|BlueOak-1.0.0)$/)
})
