// Runs the examples of deploy/ and docs/sidecar.md on podman: Compose files with Compose, and pods as far as podman supports them.
import assert from 'node:assert/strict'
import { chownSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parse } from 'yaml'
import type { Podman } from './podman.ts'

const root = join(import.meta.dirname, '..')
const read = (path: string) => readFileSync(join(root, path), 'utf8')
const { version } = JSON.parse(read('package.json')) as { version: string }
const NODE_IMAGE = /^ARG NODE_IMAGE=([^@\n]*)/m.exec(read('Dockerfile'))?.[1] ?? ''
const PROXY_IMAGE = `docker.io/library/procore-proxy:${version}`
const ORIGINS = { PROCORE_LOGIN_URL: 'http://127.0.0.1:9001', PROCORE_API_URL: 'http://127.0.0.1:9002' }
const DEMO = { ...ORIGINS, PROCORE_COMPANY_ID: '7656', PROCORE_CLIENT_ID: 'demo-client' }
const ANSWER = /^200: \d+ projects$/m

/** Returns the YAML blocks of a page that begin with `start`. */
function blocks(page: string, start: string): string[] {
  return [...read(page).matchAll(/```yaml\n([\s\S]*?)```/g)]
    .map(([, text = '']) => text)
    .filter((text) => text.startsWith(start))
}

interface Compose {
  services: Record<string, object>
}

/** Runs deploy/compose unchanged; the app has to end with status 0. */
export function runCompose(podman: Podman, image: string): Promise<string> {
  return up(podman, image, join(root, 'deploy/compose'))
}

/** Runs the Compose file of docs/sidecar.md with an app and the fake Procore of deploy/compose. */
export async function runComposeOfPage(podman: Podman, image: string, folder: string): Promise<string> {
  const place = join(folder, 'compose')
  mkdirSync(place)
  const [text = ''] = blocks('docs/sidecar.md', 'services:')
  const { services: base } = parse(read('deploy/compose/compose.yaml')) as Compose
  const { services: over } = parse(read('deploy/compose/compose.override.yaml')) as Compose
  const { image: appImage, command, volumes } = base['app'] as Record<string, unknown>
  const services = {
    'procore-proxy': { environment: DEMO },
    'fake-procore': over['fake-procore'],
    app: { ...over['app'], image: appImage, command, volumes },
  }
  writeFileSync(join(place, 'compose.yaml'), text)
  writeFileSync(join(place, 'compose.override.yaml'), JSON.stringify({ services }))
  copyFileSync(join(root, 'deploy/compose/app.mjs'), join(place, 'app.mjs'))
  const secret = join(place, 'procore-secret')
  writeFileSync(secret, 'demo-secret', { mode: 0o600 })
  chownSync(secret, 65532, 65532)
  return up(podman, image, place)
}

async function up(podman: Podman, image: string, folder: string): Promise<string> {
  await podman.run('tag', image, PROXY_IMAGE)
  const docker = await podman.docker()
  const env = { DOCKER_HOST: docker, COMPOSE_PROJECT_NAME: 'procoreproxytest' }
  const compose = (...args: string[]) => podman.command('docker-compose', args, env, folder)
  try {
    // The file without the fake has to be valid too.
    const { code, err } = await compose('-f', 'compose.yaml', 'config', '--quiet')
    assert.equal(code, 0, err)
    const ran = await podman.tended(compose('--ansi', 'never', 'up', '--no-build', '--exit-code-from', 'app'))
    assert.equal(ran.code, 0, ran.out + ran.err)
    const [, said] = /app_1\s+\| (.*)/.exec(ran.out) ?? []
    assert.match(said ?? '', ANSWER, ran.out)
    const ends = await podman.run('ps', '--all', '--format', '{{.Names}} {{.ExitCode}}')
    assert.match(ends, /procore-proxy_1 0/, ends)
    return said!
  } finally {
    await podman.removeAll()
  }
}

interface Probe {
  exec?: { command: string[] }
  httpGet?: { path: string; port: string }
  failureThreshold?: number
}

interface Container {
  name: string
  image: string
  args?: string[]
  env?: { name: string; value: string }[]
  volumeMounts?: object[]
  restartPolicy?: string
  ports?: { name: string; containerPort: number }[]
  startupProbe?: Probe
  readinessProbe?: Probe
  livenessProbe?: Probe
  [key: string]: unknown
}

interface Pod {
  initContainers: Container[]
  containers: Container[]
  volumes: { name: string; configMap?: { name: string }; secret?: { secretName: string } }[]
  [key: string]: unknown
}

/** Runs the pod of deploy/kubernetes/job with the fake Procore. */
export function runJob(podman: Podman, image: string, folder: string): Promise<string> {
  const { spec } = parse(read('deploy/kubernetes/job/job.yaml')) as { spec: { template: { spec: Pod } } }
  const config = {
    ...(parse(read('deploy/kubernetes/job/config.yaml')) as object),
    environment: 'fake',
    environments: { fake: { loginUrl: ORIGINS.PROCORE_LOGIN_URL, apiUrl: ORIGINS.PROCORE_API_URL } },
  }
  return runPod(podman, image, folder, spec.template.spec, {
    'procore-proxy': { 'config.yaml': JSON.stringify(config).replace('0123abcd', 'demo-client') },
    app: { 'app.mjs': read('deploy/kubernetes/job/app.mjs') },
  })
}

/** Runs the pod of docs/sidecar.md with an app and the fake Procore. */
export function runPodOfPage(podman: Podman, image: string, folder: string): Promise<string> {
  const [text = ''] = blocks('docs/sidecar.md', 'apiVersion: v1\nkind: Pod')
  const { spec } = parse(text) as { spec: Pod }
  const env = Object.entries(DEMO).map(([name, value]) => ({ name, value }))
  const [proxy] = spec.initContainers
  proxy!.env = [...(proxy!.env ?? []).filter(({ name }) => !(name in DEMO)), ...env]
  Object.assign(spec.containers[0]!, {
    command: ['node', '/app/app.mjs'],
    volumeMounts: [{ name: 'app', mountPath: '/app', readOnly: true }],
  })
  spec.volumes.push({ name: 'app', configMap: { name: 'app' } })
  spec['restartPolicy'] = 'Never'
  return runPod(podman, image, folder, spec, { app: { 'app.mjs': read('deploy/compose/app.mjs') } })
}

/**
 * Runs a pod with a fake Procore in it. podman has no native sidecars, so the proxy becomes an ordinary container, and this
 * function does what a kubelet does: it starts the sidecar, runs its probes, starts the app, and sends SIGTERM when the app has ended.
 */
async function runPod(
  podman: Podman,
  image: string,
  folder: string,
  spec: Pod,
  configMaps: Record<string, Record<string, string>>,
): Promise<string> {
  await podman.run('tag', image, PROXY_IMAGE)
  const [sidecar] = spec.initContainers
  const probes = [sidecar!.startupProbe, sidecar!.readinessProbe, sidecar!.livenessProbe]
  const plain = ({ ports, startupProbe, readinessProbe, livenessProbe, restartPolicy, ...rest }: Container) =>
    rest
  const proxy = { ...plain(sidecar!), image: PROXY_IMAGE }
  const pod = {
    ...spec,
    initContainers: [],
    containers: [
      proxy,
      { ...proxy, name: 'fake', args: ['fake'] },
      ...spec.containers.map((container) => ({ ...container, image: NODE_IMAGE })),
    ],
    // podman 4.3 mounts Secrets in base64, so they become ConfigMaps.
    volumes: spec.volumes.map(({ name, secret, configMap }) => ({
      name,
      configMap: secret === undefined ? configMap : { name: secret.secretName },
    })),
  }
  const maps = Object.entries({ ...configMaps, procore: { 'client-secret': 'demo-secret' } })
  const manifests = [
    ...maps.map(([name, data]) => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data })),
    { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'pod' }, spec: pod },
  ]
  const file = join(folder, 'pod.yaml')
  writeFileSync(file, manifests.map((manifest) => JSON.stringify(manifest)).join('\n---\n'))
  try {
    await podman.run('play', 'kube', '--network=none', '--start=false', file)
    await podman.run('start', 'pod-fake', 'pod-procore-proxy')
    let tried = 0
    for (const probe of probes) {
      if (probe === undefined) continue
      const command = probe.exec?.command ?? ['/nodejs/bin/node', '-e', askFor(probe, sidecar!)]
      // A kubelet asks again each second until the container has started.
      let attempts = probe === sidecar!.startupProbe ? probe.failureThreshold! : 1
      for (;;) {
        const { code, err } = await podman.try('exec', 'pod-procore-proxy', ...command)
        if (code === 0) break
        assert.ok(--attempts > 0, `${command.join(' ')}: ${err}`)
        await sleep(1000)
      }
      tried++
    }
    await podman.run('start', 'pod-app')
    const ended = await podman.run('wait', 'pod-app')
    const said = await podman.run('logs', 'pod-app')
    assert.match(said, ANSWER)
    assert.equal(ended, '0')
    await podman.run('kill', '--signal=TERM', 'pod-procore-proxy')
    assert.equal(await podman.run('wait', 'pod-procore-proxy'), '0')
    return `${tried} probes passed; ${said}`
  } finally {
    await podman.removeAll()
  }
}

/** A script that succeeds where the container answers an HTTP probe with 200. */
function askFor({ httpGet }: Probe, { ports = [] }: Container): string {
  const port = ports.find(({ name }) => name === httpGet?.port)?.containerPort
  const url = `http://127.0.0.1:${port}${httpGet?.path}`
  return `fetch('${url}').then(({ status }) => process.exit(status === 200 ? 0 : 1))`
}
