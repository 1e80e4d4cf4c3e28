// Builds dist: dist/bin is the program in one file that needs no packages, dist/server.js with its types can be embedded.
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
import { dirname, join } from 'node:path'
import { build, type Metafile, type Plugin } from 'esbuild'
import { BUNDLE_OPTIONS } from './bundle-options.ts'

const ROOT = dirname(import.meta.dirname)
const DIST = join(ROOT, 'dist')
const BIN = join(DIST, 'bin')
const ENTRY = join(BIN, 'procore-proxy.cjs')

/** `--cold` leaves out the compiled code, which fits only the Node version and options that made it. */
const isCold = process.argv.includes('--cold')

/** Large packages that few runs need: each is a file of its own, so that the others do not keep its text in memory. */
const RARE = ['@redis/client', 'prom-client', '@clack/prompts', 'papaparse']
const fileOf = (name: string) => `${name.replace(/^@/, '').replace('/', '-')}.cjs`

rmSync(DIST, { recursive: true, force: true })
mkdirSync(BIN, { recursive: true })
writeFileSync(join(BIN, 'LICENSES.txt'), licenses(await bundle()))
copyFileSync(join(ROOT, 'scripts/entry.cjs'), ENTRY)
chmodSync(ENTRY, 0o755)
cpSync(join(ROOT, 'src/page'), join(DIST, 'page'), { recursive: true })
run(join(ROOT, 'node_modules/.bin/tsc'), '-p', 'tsconfig.build.json')
// A run of the demo compiles what every start needs, and the entry keeps the compiled code in dist/compiled.
if (!isCold) {
  try {
    run(process.execPath, ENTRY, 'demo', '--once')
  } catch {
    console.warn('The demo failed, so the first start of the program will be slower.')
  }
}

/**
 * Bundles src/cli/main.ts into dist/bin/program.cjs, and each of the rare packages into a file of its own beside it.
 */
async function bundle(): Promise<Metafile> {
  const rare: Plugin = {
    name: 'rare',
    setup: ({ onResolve }) =>
      onResolve({ filter: /^[@a-z]/ }, ({ path, kind }) =>
        kind !== 'entry-point' && RARE.includes(path)
          ? { path: `./${fileOf(path)}`, external: true }
          : undefined,
      ),
  }
  const outputs = [
    await build({
      ...BUNDLE_OPTIONS,
      entryPoints: ['src/cli/main.ts'],
      outfile: join(BIN, 'program.cjs'),
      // The entry calls it like Node calls a module.
      banner: { js: `(function(exports,require,module,__filename,__dirname){${BUNDLE_OPTIONS.banner.js}` },
      footer: { js: '})' },
      plugins: [rare],
    }),
    ...(await Promise.all(
      RARE.map((name) => build({ ...BUNDLE_OPTIONS, entryPoints: [name], outfile: join(BIN, fileOf(name)) })),
    )),
  ]
  return { inputs: Object.assign({}, ...outputs.map(({ metafile }) => metafile.inputs)), outputs: {} }
}

/** Returns name, version and license text of each package that is part of the bundle. */
function licenses({ inputs }: Metafile): string {
  const folders = Object.keys(inputs).flatMap(
    (file) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file) ?? [],
  )
  const parts = [...new Set(folders)].sort().map((folder) => {
    const read = (file: string) => readFileSync(join(ROOT, folder, file), 'utf8')
    const { name, version, license } = JSON.parse(read('package.json')) as Record<string, string>
    const file = readdirSync(join(ROOT, folder)).find((entry) => /^(?:licen[cs]e|copying)/i.test(entry))
    return `${name} ${version} (${license})\n${file === undefined ? '' : `\n${read(file).trim()}\n`}`
  })
  return `procore-proxy contains these packages.\n\n${parts.join(`\n${'-'.repeat(80)}\n\n`)}`
}

function run(command: string, ...args: string[]): void {
  execFileSync(command, args, { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] })
}
