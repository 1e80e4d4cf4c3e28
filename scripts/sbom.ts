// npm run sbom: dist/release/procore-proxy-VERSION.cyclonedx.json lists what the package holds and what npm installs with it.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bundle, DIST, packagesIn, ROOT } from './bundle.ts'

interface Component {
  readonly 'bom-ref': string
  readonly properties?: readonly { readonly name: string; readonly value: string }[]
}

interface Bom {
  readonly metadata: { readonly component: Component }
  readonly components: readonly Component[]
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn?: readonly string[] }[]
}

/** npm's word for a package that only devDependencies need. */
const DEVELOPMENT = 'cdx:npm:package:development'

const { name, version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  name: string
  version: string
}
const metafiles = await bundle({ write: false })
const bundled = new Set(packagesIn(metafiles).map((it) => `${it.name}@${it.version}`))
const folder = join(DIST, 'release')
mkdirSync(folder, { recursive: true })
const file = join(folder, `${name}-${version}.cyclonedx.json`)
writeFileSync(file, `${JSON.stringify(onlyShipped(ofAllPackages()), null, 2)}\n`)
console.log(file)

/** Of the lockfile: what happens to be installed here does not count. */
function ofAllPackages(): Bom {
  const told = execFileSync('npm', ['sbom', '--sbom-format', 'cyclonedx', '--package-lock-only'], {
    cwd: ROOT,
    encoding: 'utf8',
    maxBuffer: 64_000_000,
    shell: process.platform === 'win32',
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  return JSON.parse(told) as Bom
}

/** Without what is for development alone; the same for the same commit. */
function onlyShipped(bom: Bom): object {
  const isBundled = (component: Component) => bundled.has(component['bom-ref'])
  const isForDevelopment = ({ properties = [] }: Component) =>
    properties.some((property) => property.name === DEVELOPMENT)
  const components = bom.components
    .filter((component) => isBundled(component) || !isForDevelopment(component))
    .map((component) => ({
      ...component,
      scope: 'required',
      properties: [
        ...(component.properties ?? []).filter((property) => property.name !== DEVELOPMENT),
        { name: 'procore-proxy:bundled', value: String(isBundled(component)) },
      ],
    }))
  const refs = new Set(components.map((component) => component['bom-ref']))
  for (const ref of bundled)
    if (!refs.has(ref)) throw new Error(`The bundle holds ${ref}, which package-lock.json lacks: run npm ci`)
  const { component } = bom.metadata
  refs.add(component['bom-ref'])
  const shipped = {
    ...bom,
    metadata: {
      ...bom.metadata,
      timestamp: new Date(secondsOfCommit() * 1000).toISOString(),
      lifecycles: [{ phase: 'build' }],
      // npm takes the name of the folder.
      component: { ...component, type: 'application', name },
    },
    components,
    dependencies: bom.dependencies
      .filter(({ ref }) => refs.has(ref))
      .map(({ ref, dependsOn = [] }) => ({ ref, dependsOn: dependsOn.filter((on) => refs.has(on)) })),
  }
  return { ...shipped, serialNumber: `urn:uuid:${uuidOf({ ...shipped, serialNumber: '' })}` }
}

function secondsOfCommit(): number {
  const told = process.env.SOURCE_DATE_EPOCH
  return Number(told ?? execFileSync('git', ['log', '-1', '--format=%ct'], { cwd: ROOT, encoding: 'utf8' }))
}

/** A UUID of the eighth version: its bits are up to whoever makes it. */
function uuidOf(content: object): string {
  const hash = createHash('sha256').update(JSON.stringify(content)).digest('hex')
  return `${hash.slice(0, 8)}-${hash.slice(8, 12)}-8${hash.slice(13, 16)}-a${hash.slice(17, 20)}-${hash.slice(20, 32)}`
}
