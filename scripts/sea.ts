// Builds dist/sea/procore-proxy: Node and the bundled program in one executable, for the kind of machine that builds it.
import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { build } from 'esbuild'
import { BUNDLE_OPTIONS } from './bundle-options.ts'

const ROOT = dirname(import.meta.dirname)
const DIST = join(ROOT, 'dist')
const SEA = join(DIST, 'sea')
const PROGRAM = join(SEA, process.platform === 'win32' ? 'procore-proxy.exe' : 'procore-proxy')
const IS_MAC = process.platform === 'darwin'
/** Node's documentation of single executable applications names this marker. */
const FUSE = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2'

rmSync(SEA, { recursive: true, force: true })
mkdirSync(SEA)
writeFileSync(join(SEA, 'LICENSES.txt'), licenses())
copyFileSync(process.execPath, PROGRAM)
// macOS refuses to start a signed file that was changed.
if (IS_MAC) execFileSync('codesign', ['--remove-signature', PROGRAM])
await insertProgram()
if (IS_MAC) execFileSync('codesign', ['--sign', '-', PROGRAM])

async function insertProgram(): Promise<void> {
  const blob = join(SEA, 'blob')
  const config = join(SEA, 'sea.json')
  // src/observe/own-files.ts reads the assets by these names.
  const pages = globSync('page/*', { cwd: DIST }).map((file) => [file, join(DIST, file)])
  const completions = globSync('completions/*', { cwd: ROOT }).map((file) => [file, join(ROOT, file)])
  const assets = {
    'package.json': join(ROOT, 'package.json'),
    ...Object.fromEntries([...pages, ...completions]),
  }
  // An executable can load no other files, so that here everything is in one.
  const main = join(SEA, 'program.cjs')
  await build({ ...BUNDLE_OPTIONS, entryPoints: ['src/cli/main.ts'], outfile: main })
  const options = { main, output: blob, assets, useCodeCache: true, disableExperimentalSEAWarning: true }
  writeFileSync(config, JSON.stringify(options))
  node('--experimental-sea-config', config)
  const postject = join(ROOT, 'node_modules/postject/dist/cli.js')
  const segment = IS_MAC ? ['--macho-segment-name', 'NODE_SEA'] : []
  node(postject, PROGRAM, 'NODE_SEA_BLOB', blob, '--sentinel-fuse', FUSE, ...segment)
  for (const file of [blob, config, main]) rmSync(file)
}

function node(...args: string[]): void {
  execFileSync(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] })
}

/** The executable contains Node, so that Node's license is added to those of the packages. */
function licenses(): string {
  const places = ['../LICENSE', 'LICENSE'].map((place) => join(dirname(process.execPath), place))
  const found = places.find((place) => existsSync(place))
  if (found === undefined)
    console.warn(`LICENSES.txt lacks Node's license: none found near ${process.execPath}`)
  const ofNode = found === undefined ? '' : readFileSync(found, 'utf8')
  const ofPackages = readFileSync(join(DIST, 'bin/LICENSES.txt'), 'utf8')
  return `${ofPackages}\n${'='.repeat(80)}\n\nThe executable contains Node.js ${process.version}.\n\n${ofNode}`
}
