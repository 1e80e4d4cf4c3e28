// npm run build: dist/bin is the program in one file with all its packages, dist/server.js with its types is what can be
// embedded. With --no-code V8's compiled form is left out, which fits the Node that made it and no other.
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build, type Metafile, type Plugin } from 'esbuild'

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))
const DIST = join(ROOT, 'dist')
const BIN = join(DIST, 'bin')
const PARTS = join(ROOT, 'scripts/bundle')

/** Packages that are there for features which are never used. */
const UNUSED = ['ws', 'light-my-request', '@fastify/ajv-compiler', '@fastify/fast-json-stringify-compiler']

const onlyWhatIsUsed: Plugin = {
  name: 'only what is used',
  setup({ onResolve }) {
    onResolve({ filter: /^undici$/ }, () => ({ path: join(PARTS, 'undici.cjs') }))
    onResolve({ filter: /^\.\/client-h2\.js$/ }, () => ({ path: join(PARTS, 'client-h2.cjs') }))
    for (const name of UNUSED) {
      onResolve({ filter: new RegExp(`^${name}$`) }, () => ({ path: join(PARTS, 'unused.cjs') }))
    }
  },
}

const withCode = !process.argv.includes('--no-code')
rmSync(DIST, { recursive: true, force: true })
mkdirSync(BIN, { recursive: true })

const metafile = await bundle()
writeFileSync(join(BIN, 'LICENSES.txt'), licences(metafile))
copyFileSync(join(PARTS, 'procore-proxy.cjs'), join(BIN, 'procore-proxy.cjs'))
chmodSync(join(BIN, 'procore-proxy.cjs'), 0o755)
cpSync(join(ROOT, 'src/page'), join(DIST, 'page'), { recursive: true })
run(join(ROOT, 'node_modules/.bin/tsc'), '-p', 'tsconfig.build.json')
if (withCode) run(process.execPath, join(PARTS, 'warm.cjs'))

/** src/cli/main.ts and all it needs → dist/bin/program.cjs. */
async function bundle(): Promise<Metafile> {
  const { metafile } = await build({
    entryPoints: [join(ROOT, 'src/cli/main.ts')],
    outfile: join(BIN, 'program.cjs'),
    // The same bytes wherever it is built: paths of modules stand in it.
    absWorkingDir: ROOT,
    preserveSymlinks: true,
    bundle: true,
    platform: 'node',
    // Node starts CommonJS faster and smaller: an ESM import of node:http alone costs 13 MB.
    format: 'cjs',
    target: 'node22.19',
    // A script that is compiled apart from Node's loader has no import(): it becomes require().
    supported: { 'dynamic-import': false },
    // Names stay: an error's stack can be read, and so can the program.
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: 'none',
    define: { 'import.meta.url': 'bundleUrl' },
    banner: { js: "const bundleUrl=require('node:url').pathToFileURL(__filename).href;" },
    plugins: [onlyWhatIsUsed],
    metafile: true,
    logLevel: 'warning',
  })
  return metafile
}

/** Name, version and licence text of every package in the bundle. */
function licences({ inputs }: Metafile): string {
  const folders = new Set<string>()
  for (const input of Object.keys(inputs)) {
    const folder = /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0]
    if (folder !== undefined) folders.add(resolve(ROOT, folder))
  }
  const parts = [...folders].sort().map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
      name: string
      version: string
      license: string
    }
    const file = readdirSync(folder).find((entry) => /^(?:licen[cs]e|copying)/i.test(entry))
    const words = file === undefined ? '' : `\n\n${readFileSync(join(folder, file), 'utf8').trim()}`
    return `${name} ${version} (${license})${words}\n`
  })
  return `procore-proxy is bundled with these packages.\n\n${parts.join(`\n${'-'.repeat(80)}\n\n`)}`
}

function run(command: string, ...args: string[]): void {
  execFileSync(command, args, { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] })
}
