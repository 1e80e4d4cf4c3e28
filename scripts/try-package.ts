// npm run package:test: the package for npm, made by npm, installed by npm from the registry into an empty folder, and run.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

const ROOT = dirname(import.meta.dirname)
const { version, devDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  version: string
  devDependencies: Record<string, string>
}
const EMBEDS = `import { buildServer, createLogger, loadConfig, type ProxyServer } from 'procore-proxy'
const config = await loadConfig({ flags: { config: 'x.yaml' }, env: process.env, cwd: process.cwd() })
const server: ProxyServer = await buildServer(config, { log: createLogger(config.log) })
console.log(server.addresses())
`

const folder = mkdtempSync(join(tmpdir(), 'procore-proxy-npm-'))
const app = join(folder, 'app')
try {
  mkdirSync(app)
  run(ROOT, 'npm', 'pack', '--silent', '--pack-destination', folder)
  const [file = ''] = readdirSync(folder).filter((name) => name.endsWith('.tgz'))
  writeFileSync(join(app, 'package.json'), '{ "private": true, "type": "module" }')
  run(app, 'npm', 'install', '--no-audit', '--no-fund', join(folder, file))
  assert.equal(run(app, 'npx', 'procore-proxy', '--version'), `${version}\n`)
  assert.match(run(app, 'npx', 'procore-proxy', 'demo', '--once'), /Bearer/)
  assert.match(
    run(app, 'node', '--input-type=module', '-e', `import * as all from 'procore-proxy'; console.log(all)`),
    /buildServer/,
  )
  const tools = ['typescript', '@types/node'].map((name) => `${name}@${devDependencies[name]}`)
  run(app, 'npm', 'install', '--no-audit', '--no-fund', '--save-dev', ...tools)
  writeFileSync(join(app, 'app.ts'), EMBEDS)
  run(
    app,
    'npx',
    'tsc',
    '--strict',
    '--noEmit',
    '--module',
    'nodenext',
    '--target',
    'es2024',
    '--types',
    'node',
    'app.ts',
  )
  const packages = readdirSync(join(app, 'node_modules')).filter((name) => !name.startsWith('.')).length
  console.log(`${file} installs (${packages} folders in node_modules), runs, and can be embedded`)
} finally {
  rmSync(folder, { recursive: true, force: true })
}

function run(cwd: string, command: string, ...args: string[]): string {
  const env = { ...process.env, npm_config_loglevel: 'error' }
  return execFileSync(command, args, { cwd, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
}
