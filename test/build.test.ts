// What `npm run build` makes: the program in one file that needs no packages, and a server that can be embedded.
import { execFile, execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { get, run, runToEnd, shortFolder, startPlace } from './fixtures/cli.ts'
import { serves } from './fixtures/program.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const { version, dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  version: string
  dependencies: Record<string, string>
}

// `env`: tap puts a loader into the environment of every child, which is for the sources alone.
execFileSync('env', ['-u', 'NODE_OPTIONS', process.execPath, join(ROOT, 'scripts/build.ts')], {
  stdio: ['ignore', 'ignore', 'inherit'],
})

/** What an image holds: the bundle and the page, and no packages anywhere above them. */
function install(t: Test): { folder: string; main: string } {
  const folder = shortFolder(t)
  mkdirSync(join(folder, 'dist'))
  for (const part of ['dist/bin', 'dist/page', 'package.json'])
    cpSync(join(ROOT, part), join(folder, part), { recursive: true })
  return { folder, main: join(folder, 'dist/bin/procore-proxy.cjs') }
}

t.test('the bundle runs without any package beside it', async (t) => {
  const { main } = install(t)
  const place = await startPlace(t)
  t.match(await runToEnd(t, ['--version'], { cwd: place.folder, main }), {
    code: 0,
    out: `${version}\n`,
  })
  await serves(t, place, main)
  t.match(await runToEnd(t, ['check', '-c', place.file], { cwd: place.folder, main }), { code: 0 })
  t.match(await runToEnd(t, ['demo', '--once'], { cwd: place.folder, main }), { code: 0 })
  t.match(await runToEnd(t, ['completion', 'bash'], { cwd: place.folder, main }), {
    code: 0,
    out: /complete/,
  })
  const schema = await runToEnd(t, ['schema'], { cwd: place.folder, main })
  t.equal(schema.out, readFileSync(join(ROOT, 'config/procore-proxy.schema.json'), 'utf8'))
  const wrong = join(place.folder, 'wrong.yaml')
  writeFileSync(wrong, 'listn: 1\n', { mode: 0o600 })
  t.match(await runToEnd(t, ['start', '-c', wrong], { cwd: place.folder, main }), {
    code: 2,
    err: /listen/,
  })
})

t.test('code that does not fit this Node is no failure', async (t) => {
  const { folder, main } = install(t)
  const code = join(folder, 'dist/bin/program.v8')
  t.ok(existsSync(code))
  const place = await startPlace(t)
  for (const bytes of [
    undefined,
    Buffer.alloc(0),
    Buffer.from('no code'),
    readFileSync(code).fill(7, 8, 12),
  ]) {
    if (bytes === undefined) rmSync(code)
    else writeFileSync(code, bytes)
    const told = await runToEnd(t, ['--version'], { cwd: place.folder, main })
    t.match(told, { code: 0, out: `${version}\n`, err: '' })
  }
  await serves(t, place, main)
})

t.test('a program that was replaced while it runs goes on as it was', async (t) => {
  const { folder, main } = install(t)
  const place = await startPlace(t)
  const proxy = run(t, ['-c', place.file], { cwd: place.folder, main })
  const url = await proxy.ready()
  // As package managers do it: another file under the name.
  for (const part of ['config', 'pages', 'metrics']) {
    const file = join(folder, `dist/bin/${part}.cjs`)
    rmSync(file)
    writeFileSync(file, 'throw new Error("another version")')
  }
  proxy.kill('SIGHUP')
  await proxy.line('reload: SIGHUP')
  t.match(await get(t, url, '/_proxy/status'), { status: 200 })
  t.match(await get(t, url, '/_proxy/metrics'), { status: 200 })
  proxy.kill('SIGTERM')
  t.match(await proxy.end(), { code: 0, err: '', out: /^(?!.*another version)/s })
})

t.test('a program that was written over while it runs says so, and does not mix the two', async (t) => {
  const { folder, main } = install(t)
  const place = await startPlace(t)
  const proxy = run(t, ['-c', place.file], { cwd: place.folder, main })
  const url = await proxy.ready()
  const part = join(folder, 'dist/bin/pages.cjs')
  writeFileSync(part, `${readFileSync(part, 'latin1')}\n`, 'latin1')
  t.match(await get(t, url, '/_proxy/status'), { status: 500, body: /internal_error/ })
  for (const path of ['/acme/rest/v1.0/me', '/_proxy/health/live', '/_proxy/health/ready'])
    t.match(await get(t, url, path), { status: 200 }, `${path} goes on`)
  proxy.kill('SIGTERM')
  t.match(await proxy.end(), { code: 0, out: /was written over after it had started: restart it/ })
})

t.test('the licence of every package in the bundle comes with it', (t) => {
  const licences = readFileSync(join(ROOT, 'dist/bin/LICENSES.txt'), 'utf8')
  for (const name of Object.keys(dependencies)) t.match(licences, new RegExp(`^${name} \\d`, 'm'), name)
  for (const [, licence] of licences.matchAll(/^\S+ \d\S* \((.*)\)$/gm))
    t.match(licence, /^(MIT|ISC|Apache-2.0|BSD-[23]-Clause|BlueOak-1.0.0)$/)
  t.end()
})

t.test('the SBOM lists what the bundle holds and what npm installs with it, and nothing else', (t) => {
  const made = () => {
    const args = ['-u', 'NODE_OPTIONS', 'SOURCE_DATE_EPOCH=1790000000', process.execPath]
    const out = execFileSync('env', [...args, join(ROOT, 'scripts/sbom.ts')], { encoding: 'utf8' })
    return readFileSync(out.trim(), 'utf8')
  }
  const text = made()
  const { metadata, components } = JSON.parse(text) as {
    metadata: { component: { name: string; version: string }; timestamp: string }
    components: { name: string; version: string; properties: { name: string; value: string }[] }[]
  }
  t.match(metadata, { component: { name: 'procore-proxy', version }, timestamp: '2026-09-21T14:13:20.000Z' })
  const listed = (wanted: boolean) =>
    components
      .filter(({ properties }) =>
        properties.some(({ name, value }) => name === 'procore-proxy:bundled' && value === `${wanted}`),
      )
      .map((component) => `${component.name} ${component.version}`)
      .sort()
  const licences = readFileSync(join(ROOT, 'dist/bin/LICENSES.txt'), 'utf8')
  const bundled = [...licences.matchAll(/^(\S+ \d\S*) \(.*\)$/gm)].map(([, name = '']) => name).sort()
  t.ok(bundled.length > 50)
  t.strictSame(listed(true), bundled)
  const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { version: string; dev?: boolean }>
  }
  const installed = Object.entries(packages)
    .filter(([path, { dev }]) => path !== '' && !dev)
    .map(([path, { version }]) => `${path.split('node_modules/').at(-1)} ${version}`)
  const apart = installed.filter((name) => !bundled.includes(name))
  t.strictSame(listed(false), [...new Set(apart)].sort())
  t.equal(made(), text, 'byte for byte the same again')
  t.end()
})

const EMBEDS = `
import { buildServer, createLogger, loadConfig } from ${JSON.stringify(pathToFileURL(join(ROOT, 'dist/server.js')).href)}
const config = await loadConfig({ flags: { config: process.argv[1] }, env: {}, cwd: '/' })
const server = await buildServer(config, { log: createLogger({ ...config.log, level: 'silent' }) })
await server.listen()
const answer = await fetch(server.addresses()[0].url + '/acme/rest/v1.0/me')
console.log(answer.status, await server.drain())
`

t.test('the server can be embedded', async (t) => {
  const { file } = await startPlace(t)
  // A process of its own, and without tap's loader: what it runs does not count as sources.
  const args = ['-u', 'NODE_OPTIONS', process.execPath, '--input-type=module', '-e', EMBEDS, '--', file]
  t.equal((await promisify(execFile)('env', args, { encoding: 'utf8' })).stdout, '200 true\n')
  t.match(readFileSync(join(ROOT, 'dist/server.d.ts'), 'utf8'), /export declare function buildServer/)
  t.notOk(existsSync(join(ROOT, 'dist/cli')) || existsSync(join(ROOT, 'dist/fake')), 'and nothing else')
})
