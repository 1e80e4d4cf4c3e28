// npm run build:sea: dist/sea/procore-proxy is the bundled program and Node in one executable, for the machine it is built on.
import { execFileSync } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { BIN, bundleStart, DIST, PART_NAMES, ROOT } from './bundle.ts'

const SEA = join(DIST, 'sea')
const PROGRAM = join(SEA, process.platform === 'win32' ? 'procore-proxy.exe' : 'procore-proxy')
const MAC = process.platform === 'darwin'

/** Where Node looks for what is put in; its own documentation names it. */
const FUSE = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2'

/** What the program reads at run time, by the names that scripts/bundle/sea.cjs and src/observe/own-files.ts ask for. */
const ASSETS: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    ['program', ...PART_NAMES]
      .flatMap((name) => [`${name}.cjs`, `${name}.v8`])
      .map((file) => [file, join(BIN, file)])
      .filter(([, file]) => existsSync(file as string)),
  ),
  'package.json': join(ROOT, 'package.json'),
  ...Object.fromEntries(
    readdirSync(join(DIST, 'page')).map((file) => [`page/${file}`, join(DIST, 'page', file)]),
  ),
}

rmSync(SEA, { recursive: true, force: true })
mkdirSync(SEA, { recursive: true })
writeFileSync(join(SEA, 'LICENSES.txt'), licences())
copyFileSync(process.execPath, PROGRAM)
// A signed file that is changed does not start any more on a Mac.
if (MAC) execFileSync('codesign', ['--remove-signature', PROGRAM])
await putIn()
if (MAC) execFileSync('codesign', ['--sign', '-', PROGRAM])

/** A main and files, put into Node. */
async function putIn(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'procore-proxy-sea-'))
  try {
    const output = join(folder, 'blob')
    const config = join(folder, 'sea.json')
    const main = join(folder, 'main.cjs')
    await bundleStart('sea.cjs', main)
    writeFileSync(
      config,
      JSON.stringify({ main, output, assets: ASSETS, disableExperimentalSEAWarning: true }),
    )
    node('--experimental-sea-config', config)
    const postject = join(ROOT, 'node_modules/postject/dist/cli.js')
    const segment = MAC ? ['--macho-segment-name', 'NODE_SEA'] : []
    node(postject, PROGRAM, 'NODE_SEA_BLOB', output, '--sentinel-fuse', FUSE, ...segment)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function node(...args: string[]): void {
  execFileSync(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] })
}

/** Whoever hands the executable on hands Node on: its licence has to come along. */
function licences(): string {
  const places = ['../LICENSE', 'LICENSE'].map((place) => join(dirname(process.execPath), place))
  const found = places.find((place) => existsSync(place))
  if (found === undefined)
    console.warn(`no licence of Node beside ${process.execPath}: LICENSES.txt lacks it`)
  const ofNode = found === undefined ? '' : readFileSync(found, 'utf8')
  return `${readFileSync(join(DIST, 'bin/LICENSES.txt'), 'utf8')}\n${'='.repeat(80)}\n\nThe executable holds Node.js ${process.version}.\n\n${ofNode}`
}
