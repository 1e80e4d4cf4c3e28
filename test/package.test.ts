// Covers the package for npm: its files, that it can be reproduced, and that it works where it is installed.
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, globSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { extract } from 'tar'
import { runToEnd, shortFolder, startPlace } from './fixtures/cli.ts'
import { BUILT_FROM, serves } from './fixtures/program.ts'
import { words } from './fixtures/words.ts'

const ROOT = join(import.meta.dirname, '..')
const TSC = join(ROOT, 'node_modules/.bin/tsc')
const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  name: string
  version: string
  bin: Record<string, string>
  man: readonly string[]
  exports: { '.': { types: string; default: string }; './package.json': string }
  scripts: Record<string, string>
  dependencies: Record<string, string>
  publishConfig: object
}

/** Packs a copy of the sources and returns where the package is. */
async function pack(t: Test): Promise<string> {
  const folder = shortFolder(t)
  const copy = (names: readonly string[]) => {
    for (const name of names) cpSync(join(ROOT, name), join(folder, name), { recursive: true })
  }
  // tap's loader in NODE_OPTIONS is only for the sources.
  const run = (...args: string[]) =>
    promisify(execFile)('env', ['-u', 'NODE_OPTIONS', ...args], { cwd: folder })
  copy(BUILT_FROM)
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  // Does what prepack does, but without scripts/node.mjs, which could install packages over the link.
  await run(process.execPath, 'scripts/build.ts', '--cold')
  copy(words`README.md LICENSE CHANGELOG.md SECURITY.md docs`)
  await run('npm', 'pack', '--ignore-scripts', '--silent')
  return join(folder, `${manifest.name}-${manifest.version}.tgz`)
}

/** A folder in which the package is installed, with the packages that it depends on and no others. */
function install(t: Test, file: string): { folder: string; installed: string } {
  const folder = shortFolder(t)
  const installed = join(folder, 'node_modules', manifest.name)
  mkdirSync(installed, { recursive: true })
  extract({ file, cwd: installed, strip: 1, sync: true })
  for (const name of [...Object.keys(manifest.dependencies), '@types/node']) {
    const link = join(folder, 'node_modules', name)
    mkdirSync(dirname(link), { recursive: true })
    symlinkSync(join(ROOT, 'node_modules', name), link)
  }
  return { folder, installed }
}

/** Names of the packages that files import. */
function imported(folder: string, pattern: string): string[] {
  const names = globSync(pattern, { cwd: folder }).flatMap((file) =>
    [...readFileSync(join(folder, file), 'utf8').matchAll(/(?:from |import\()'([^.'][^']*)'/g)].map(
      ([, name = '']) => /^(?:@[^/]+\/)?[^/]+/.exec(name)?.[0] ?? '',
    ),
  )
  return [...new Set(names)].filter((name) => !/^node:/.test(name) && !builtinModules.includes(name)).sort()
}

/** What docs/install.md shows, and more. */
const [, SHOWN = ''] =
  /^```ts\n([\s\S]*?)^```$/m.exec(readFileSync(join(ROOT, 'docs/install.md'), 'utf8')) ?? []
const EMBEDS = `${SHOWN}
import type { Config, Logger, ProxyServer } from 'procore-proxy'
const types: [Config, ProxyServer, Logger | undefined] = [config, server, undefined]
const urls: string[] = server.addresses().map(({ url }) => url)
const drained: boolean = await server.drain()
console.log(types, urls, drained)
`

const CONFIG = `listen: 127.0.0.1:0
environment: local
environments: { local: { apiUrl: 'http://127.0.0.1:9', loginUrl: 'http://127.0.0.1:9' } }
companies: { acme: { id: '7656', serviceAccount: { clientId: id, clientSecret: secret-for-tests } } }
log: { level: silent }
`

t.test('the documentation and the files of deploy/ name the version of the package', async (t) => {
  const files = globSync(['*.md', 'docs/*.md', 'deploy/**/*.{md,yaml}', 'Dockerfile'], { cwd: ROOT })
  const named = files.flatMap((file) =>
    [
      ...readFileSync(join(ROOT, file), 'utf8').matchAll(/\bprocore-proxy(?::|@|, newTag: )(\d+\.\d+\.\d+)/g),
    ].map(([, version = '']) => ({ file, version })),
  )
  t.ok(named.length > 5)
  for (const { file, version } of named) t.equal(version, manifest.version, file)
})

t.test('the package for npm', async (t) => {
  const [file, again] = await Promise.all([pack(t), pack(t)])
  const { folder, installed } = install(t, file)

  t.test('is the same bytes in whichever folder it is made', async (t) => {
    const [first, second] = [file, again].map((each) =>
      createHash('sha256').update(readFileSync(each)).digest('hex'),
    )
    t.equal(first, second)
  })

  t.test('holds what is needed and nothing else', async (t) => {
    const files = globSync('**/*', { cwd: installed, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(installed.length + 1))
    const wanted =
      /^(package\.json|(README|CHANGELOG|SECURITY)\.md|LICENSE|docs\/([a-z-]+\.md|procore-proxy\.1)|completions\/procore-proxy\.[a-z]+|config\/procore-proxy\.(sample\.yaml|schema\.json)|dist\/bin\/(LICENSES\.txt|[a-z-]+\.cjs)|dist\/page\/[a-z]+\.(html|css|js))$/
    const others = files.filter((path) => !wanted.test(path))
    t.ok(others.length > 100)
    for (const path of others) {
      // Else it is a module of the server, with its types.
      const [, module = path] = /^dist\/(.+?)(?:\.d\.ts|\.js)$/.exec(path) ?? []
      t.ok(existsSync(join(ROOT, 'src', `${module}.ts`)), path)
      t.notMatch(path, /^dist\/(cli|fake)\//)
    }
    for (const path of ['README.md', 'LICENSE', 'CHANGELOG.md', 'dist/bin/LICENSES.txt', 'dist/page/page.js'])
      t.ok(files.includes(path), path)
    const { bin, man, exports, scripts, publishConfig } = manifest
    t.ok(Array.isArray(man), 'npm links no manual page whose name is not in a list')
    for (const path of [
      ...man,
      ...Object.values(bin),
      ...Object.values(exports['.']),
      exports['./package.json'],
    ])
      t.ok(existsSync(join(installed, path)), path)
    t.equal(
      scripts['prepack'],
      'node scripts/node.mjs node scripts/build.ts --cold',
      'it is built before it is packed',
    )
    t.notOk(
      files.some((path) => path.startsWith('dist/compiled')),
      'compiled code fits one machine only',
    )
    t.notMatch(
      readFileSync(join(installed, 'package.json'), 'utf8'),
      /github\.com/,
      'there is no repository yet',
    )
    t.strictSame(publishConfig, { access: 'public', provenance: true })
  })

  t.test('depends on what the sources import and on nothing else', async (t) => {
    t.strictSame(imported(ROOT, 'src/**/*.ts'), Object.keys(manifest.dependencies).sort())
    for (const name of imported(installed, 'dist/**/*.js')) t.ok(name in manifest.dependencies, name)
  })

  t.test('runs', async (t) => {
    const place = await startPlace(t)
    const main = join(installed, manifest.bin[manifest.name] ?? '')
    t.match(await runToEnd(t, ['--version'], { cwd: folder, main }), {
      code: 0,
      out: `${manifest.version}\n`,
    })
    await serves(t, place, main)
  })

  t.test('can be embedded, with types that need no skipLibCheck', async (t) => {
    t.match(SHOWN, 'buildServer')
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
    writeFileSync(join(folder, 'app.ts'), EMBEDS)
    const args = ['--strict', '--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess', '--noEmit']
    const more = ['--module', 'nodenext', '--target', 'es2024', '--types', 'node', 'app.ts']
    const told = await promisify(execFile)(TSC, [...args, ...more], { cwd: folder }).catch(
      (error: { stdout: string }) => error,
    )
    t.equal(told.stdout, '')
    writeFileSync(join(folder, 'procore-proxy.yaml'), CONFIG, { mode: 0o600 })
    const without = ['-u', 'NODE_OPTIONS', process.execPath, 'app.ts']
    const { stdout } = await promisify(execFile)('env', without, { cwd: folder })
    t.match(stdout, /http:\/\/127\.0\.0\.1:\d+[\s\S]*\btrue\n$/, 'it runs too')
  })
})
