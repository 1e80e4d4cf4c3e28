// Runs what deploy/ describes on podman: the compose files as they are, and the pod of the Job as near as podman comes.
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import type { Podman } from './podman.ts'

const root = join(import.meta.dirname, '..')

/** The images as the files name them: those that `build.sh` made, under these names. */
async function named(podman: Podman, image: string): Promise<void> {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
  for (const name of [
    `docker.io/library/procore-proxy:${version}`,
    'docker.io/library/procore-proxy:latest',
  ]) {
    await podman.run('tag', image, name)
  }
}

/** Compose itself (Debian's, 1.29) starts and ends the three services of deploy/compose. */
export async function runCompose(podman: Podman, image: string): Promise<string> {
  await named(podman, image)
  const folder = join(root, 'deploy/compose')
  const compose = async (...args: string[]) =>
    podman.command(
      'docker-compose',
      args,
      { DOCKER_HOST: docker, COMPOSE_PROJECT_NAME: 'procoreproxytest' },
      folder,
    )
  const docker = await podman.docker()
  for (const files of [[], ['-f', 'compose.yaml']]) {
    const { code, err } = await compose(...files, 'config', '--quiet')
    assert.equal(code, 0, err)
  }
  const { code, out, err } = await podman.tended(
    compose('--ansi', 'never', 'up', '--no-build', '--exit-code-from', 'app'),
  )
  assert.equal(code, 0, out + err)
  const said = /app_1\s+\| (200: \d+ projects)/.exec(out)?.[1]
  assert.ok(said, out)
  const states = await podman.run('ps', '--all', '--format', '{{.Names}} {{.ExitCode}}')
  assert.match(states, /procore-proxy_1 0/, states)
  await podman.removeAll()
  return said
}

interface Container {
  name: string
  image: string
  command?: string[]
  args?: string[]
  env?: { name: string; value: string }[]
  restartPolicy?: string
  startupProbe?: { exec: { command: string[] } }
  readinessProbe?: { exec: { command: string[] } }
  livenessProbe?: { exec: { command: string[] } }
  [key: string]: unknown
}

interface Pod {
  restartPolicy?: string
  initContainers?: Container[]
  containers: Container[]
  volumes: { name: string; secret?: { secretName: string } }[]
}

/**
 * podman knows no native sidecars: the proxy becomes a container like the others, a fake Procore joins them, and what a
 * kubelet does is done here: first the sidecar, then its probes, then the app, and at the app's end SIGTERM.
 */
export async function runPod(podman: Podman, image: string, folder: string): Promise<string> {
  await named(podman, image)
  const source = join(root, 'deploy/kubernetes/job')
  const read = (name: string) => readFileSync(join(source, name), 'utf8')
  const { spec: job } = parse(read('job.yaml')) as { spec: { template: { spec: Pod } } }
  const { spec } = job.template
  const proxy = spec.initContainers![0]!
  const probes = [proxy.startupProbe, proxy.readinessProbe, proxy.livenessProbe].map(
    (probe) => probe!.exec.command,
  )
  const plain = ({ startupProbe, readinessProbe, livenessProbe, restartPolicy, ...rest }: Container) => rest
  const build = /^ARG NODE_IMAGE=([^@\n]*)/m.exec(readFileSync(join(root, 'Dockerfile'), 'utf8'))?.[1] ?? ''
  const local = { ...plain(proxy), image: 'docker.io/library/procore-proxy:latest' }
  const settings = {
    ...(parse(read('config.yaml')) as object),
    environment: 'fake',
    environments: { fake: { loginUrl: 'http://127.0.0.1:9001', apiUrl: 'http://127.0.0.1:9002' } },
  }
  const configMap = (name: string, data: Record<string, string>) => ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name },
    data,
  })
  const manifests = [
    configMap('procore-proxy', {
      'config.yaml': JSON.stringify(settings).replace('0123abcd', 'demo-client'),
    }),
    configMap('app', { 'app.mjs': read('app.mjs') }),
    configMap('procore', { 'client-secret': 'demo-secret' }),
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'pod' },
      spec: {
        ...spec,
        initContainers: [],
        // podman 4.3 writes what a Secret holds as base64.
        volumes: spec.volumes.map(({ name, secret, ...rest }) =>
          secret === undefined ? { name, ...rest } : { name, configMap: { name: secret.secretName } },
        ),
        containers: [
          local,
          { ...local, name: 'fake', args: ['fake'] },
          ...spec.containers.map((container) => ({ ...plain(container), image: build })),
        ],
      },
    },
  ]
  const file = join(folder, 'pod.yaml')
  writeFileSync(file, manifests.map((manifest) => JSON.stringify(manifest)).join('\n---\n'))
  await podman.run('play', 'kube', '--network=none', '--start=false', file)
  await podman.run('start', 'pod-fake', 'pod-procore-proxy')
  const said: string[] = []
  for (const command of probes) {
    const { code, err } = await podman.try('exec', 'pod-procore-proxy', ...command)
    assert.equal(code, 0, `${command.join(' ')}: ${err}`)
    said.push(command.slice(2).join(' '))
  }
  await podman.run('start', 'pod-app')
  const ended = await podman.run('wait', 'pod-app')
  const answer = await podman.run('logs', 'pod-app')
  assert.match(answer, /^200: \d+ projects$/)
  assert.equal(ended, '0')
  await podman.run('kill', '--signal=TERM', 'pod-procore-proxy')
  assert.equal(await podman.run('wait', 'pod-procore-proxy'), '0')
  return `${answer}; probes: ${said.join(', ')}`
}
