// Covers deploy/kubernetes and the manifests of docs/sidecar.md: they are valid, restricted, and fit this program.
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { INetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1'
import type { IContainer, IPodSpec } from 'kubernetes-models/v1'
import t from 'tap'
import { parse } from 'yaml'
import { VERSION } from '../../src/observe/own-files.ts'
import { loadConfig } from '../../src/server.ts'
import { freePort, get, run, runToEnd, startPlace } from '../fixtures/cli.ts'
import {
  containersOf,
  type Manifest,
  manifestsOf,
  podOf,
  schemaErrors,
  typeErrors,
  unrestricted,
} from '../fixtures/kubernetes.ts'

const root = join(import.meta.dirname, '../..')
const read = (path: string) => readFileSync(join(root, path), 'utf8')
const files = globSync('deploy/kubernetes/**/*.yaml', { cwd: root })
const MONITOR = 'deploy/kubernetes/monitoring/podmonitor.yaml'
/** Without patches, configurations and kustomizations, which are no manifests. */
const sources = files.filter(
  (file) => file !== MONITOR && !/(kustomization|config|overlays\/example\/app)\.yaml$/.test(file),
)
const manifests = new Map<string, Manifest[]>([
  ...sources.map((file) => [file, manifestsOf(read(file))] as const),
  [
    'docs/sidecar.md',
    [...read('docs/sidecar.md').matchAll(/```yaml\n(apiVersion:[\s\S]*?)```/g)].flatMap(([, text = '']) =>
      manifestsOf(text),
    ),
  ],
])
const pods = [...manifests].flatMap(([file, all]) =>
  all.flatMap((manifest) => {
    const pod = podOf(manifest)
    return pod === undefined ? [] : [{ file, pod }]
  }),
)
const sidecarOf = (pod: IPodSpec) =>
  pod.initContainers?.find(({ name }) => name === 'procore-proxy') as IContainer
/** All but Valkey's. */
const proxied = pods.filter(({ pod }) => sidecarOf(pod) !== undefined)
const PROGRAM = ['/nodejs/bin/node', '/app/dist/bin/procore-proxy.cjs']
/** A kind of the Prometheus Operator, which the schemas of Kubernetes do not contain. */
const monitor = parse(read(MONITOR)) as {
  spec: {
    selector: object
    podMetricsEndpoints: { port: string; path: string; relabelings: { replacement: string }[] }[]
  }
}

t.test('the schemas and types of the Kubernetes API accept every manifest', async (t) => {
  t.testdir()
  t.ok(pods.length >= 3, 'a Deployment, a Job, a Pod of the page')
  for (const [file, all] of manifests) {
    t.not(all.length, 0, file)
    for (const manifest of all) t.strictSame(schemaErrors(manifest), [], `${file}: ${manifest.kind}`)
  }
  t.strictSame(typeErrors(t, [...manifests.values()].flat()), [])
})

t.test('every pod keeps to "restricted"', async (t) => {
  for (const { file, pod } of pods) t.strictSame(unrestricted(pod), [], file)
  t.match(read('deploy/kubernetes/overlays/example/namespace.yaml'), 'enforce: restricted')
})

t.test('the sidecar is the same in the Deployment and the Job, and outlives what it serves', async (t) => {
  const [deployment, job] = ['base/deployment', 'job/job'].map((name) =>
    podOf(manifests.get(`deploy/kubernetes/${name}.yaml`)![0]!),
  )
  t.strictSame(sidecarOf(job!), sidecarOf(deployment!))
  for (const { file, pod } of proxied) {
    t.equal(sidecarOf(pod).restartPolicy, 'Always', file)
    t.ok((pod.terminationGracePeriodSeconds ?? 30) > 30, `${file}: longer than shutdownTimeout`)
    t.notOk(
      sidecarOf(pod).ports?.some(({ name }) => name !== 'metrics'),
      'the proxy itself is not published',
    )
    for (const { name, env } of containersOf(pod)) {
      if (name !== 'procore-proxy') t.match(env, [{ name: 'PROCORE_URL', value: 'http://127.0.0.1:8377' }])
    }
  }
})

t.test('the program reads each configuration, and its secret is mounted where it says', async (t) => {
  const configs = files.filter((file) => file.endsWith('/config.yaml'))
  t.equal(configs.length, 4)
  for (const file of configs) {
    const config = await loadConfig({
      flags: { config: join(root, file) },
      env: {},
      cwd: root,
      resolveSecrets: false,
    })
    t.match(config.listen, [{ host: '127.0.0.1', port: 8377 }], file)
    t.match(config.metricsListen, { host: '0.0.0.0', port: 9377 }, file)
    t.match(read(file), 'clientSecret: { file: /run/secrets/procore/client-secret }')
  }
  for (const { file, pod } of proxied.filter(({ file: name }) => name.startsWith('deploy'))) {
    const places = new Map(sidecarOf(pod).volumeMounts!.map(({ name, mountPath }) => [name, mountPath]))
    for (const { name, configMap, secret } of pod.volumes ?? []) {
      if (configMap?.name === 'procore-proxy') t.equal(places.get(name), '/etc/procore-proxy', file)
      if (secret !== undefined) t.equal(places.get(name), '/run/secrets/procore', file)
    }
  }
})

t.test('the probes and the monitor ask for what the program serves', async (t) => {
  const { folder } = await startPlace(t, { listen: `127.0.0.1:${await freePort()}` })
  const url = await run(t, [], { cwd: folder }).ready()
  const asked = new Set<string>()
  for (const { file, pod } of proxied.filter(({ file: name }) => name.startsWith('deploy'))) {
    const { ports, startupProbe, readinessProbe, livenessProbe } = sidecarOf(pod)
    t.match(ports, [{ name: 'metrics', containerPort: 9377 }], file)
    for (const probe of [startupProbe, readinessProbe, livenessProbe]) {
      t.equal(probe?.httpGet?.port, 'metrics', file)
      asked.add(probe?.httpGet?.path ?? '')
    }
  }
  const [{ port, path = '' } = {}] = monitor.spec.podMetricsEndpoints
  t.equal(port, 'metrics')
  for (const one of [...asked, path]) t.match(await get(t, url, one), { status: 200 }, one)
  t.equal(asked.size, 2)
})

t.test('the network policy lets Prometheus in and DNS out, for what the monitor selects', async (t) => {
  const [policy] = manifests.get('deploy/kubernetes/policy/networkpolicy.yaml') as unknown as INetworkPolicy[]
  t.match(policy?.spec?.ingress, [{ ports: [{ protocol: 'TCP', port: 9377 }] }])
  const names = policy?.spec?.egress?.find(({ ports }) => ports?.some(({ port }) => port === 53))
  t.match(names?.to, [{ podSelector: {} }, { ipBlock: { cidr: '169.254.20.10/32' } }])
  t.strictSame(policy?.spec?.podSelector, monitor.spec.selector)
  t.match(
    read('deploy/prometheus/procore-proxy.rules.yaml'),
    `up{job="${monitor.spec.podMetricsEndpoints[0]?.relabelings[0]?.replacement}"}`,
  )
})

t.test('the probes of docs/sidecar.md and the image’s health check are commands that exist', async (t) => {
  const { bin } = JSON.parse(read('package.json')) as { bin: Record<string, string> }
  t.equal(`/app/${bin['procore-proxy']}`, PROGRAM[1])
  const dockerfile = read('Dockerfile')
  t.match(dockerfile, `ENTRYPOINT ${JSON.stringify(PROGRAM).replace(',', ', ')}`)
  const check = /^HEALTHCHECK[^[]*(\[.*\])$/m.exec(dockerfile.replaceAll('\\\n', ''))?.[1] ?? '[]'
  const commands = proxied
    .flatMap(({ pod }) => {
      const { startupProbe, readinessProbe, livenessProbe } = sidecarOf(pod)
      return [startupProbe, readinessProbe, livenessProbe].map((probe) => probe?.exec?.command)
    })
    .filter((command) => command !== undefined)
    .concat([JSON.parse(check) as string[]])
  const { folder } = await startPlace(t, { listen: `127.0.0.1:${await freePort()}` })
  const proxy = run(t, [], { cwd: folder })
  await proxy.ready()
  for (const [node, program, ...words] of commands) {
    t.strictSame([node, program], PROGRAM)
    const args = words.filter((word, at) => word !== '--url' && words[at - 1] !== '--url')
    t.match(await runToEnd(t, args, { cwd: folder }), { code: 0, out: '', err: '' }, args.join(' '))
  }
})

t.test('what kustomize makes of it is valid too', { skip: !hasKubectl() && 'no kubectl here' }, async (t) => {
  t.testdir()
  const whole: Manifest[] = []
  for (const file of files.filter((name) => name.endsWith('kustomization.yaml'))) {
    const built = manifestsOf(
      execFileSync('kubectl', ['kustomize', join(root, dirname(file))], { encoding: 'utf8' }),
    )
    if (file.includes('monitoring')) continue
    for (const manifest of built) t.strictSame(schemaErrors(manifest), [], `${file}: ${manifest.kind}`)
    whole.push(...built)
    for (const pod of built.flatMap((manifest) => podOf(manifest) ?? [])) t.strictSame(unrestricted(pod), [])
    if (/overlays|job/.test(file))
      t.match(JSON.stringify(built), `registry.example.com/procore-proxy:${VERSION}`)
    if (file.includes('overlays')) {
      for (const { kind, metadata } of built) {
        if (kind !== 'Namespace') t.equal(metadata.namespace, 'procore-example', kind)
      }
    }
  }
  t.ok(whole.length > 10)
  t.strictSame(typeErrors(t, whole), [])
})

t.test('every file that a kustomization names exists', async (t) => {
  for (const file of files.filter((name) => name.endsWith('kustomization.yaml'))) {
    const { resources, patches, configMapGenerator } = parse(read(file)) as {
      resources: string[]
      patches?: { path: string }[]
      configMapGenerator?: { files: string[] }[]
    }
    const paths = [
      ...resources,
      ...(patches ?? []).map(({ path }) => path),
      ...(configMapGenerator ?? []).flatMap((generator) => generator.files),
    ]
    for (const path of paths) t.ok(existsSync(join(root, dirname(file), path)), `${file}: ${path}`)
  }
})

function hasKubectl(): boolean {
  return spawnSync('kubectl', ['version', '--client']).status === 0
}
