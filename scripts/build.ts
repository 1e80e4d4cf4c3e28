// npm run build: dist/bin is the program with all its packages in a few files, dist/server.js with its types is what can be
// embedded. With --no-code V8's compiled form is left out, which fits the Node that made it and no other.
import { execFileSync } from 'node:child_process'
import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { BIN, type BundledPackage, bundle, bundleStart, DIST, PARTS, packagesIn, ROOT } from './bundle.ts'

const withCode = !process.argv.includes('--no-code')
mkdirSync(BIN, { recursive: true })
// What scripts/release.ts made stays: its files have been listed in SHA256SUMS.
for (const entry of readdirSync(DIST))
  if (entry !== 'release') rmSync(join(DIST, entry), { recursive: true, force: true })
mkdirSync(BIN)

const metafiles = await bundle({ write: true })
writeFileSync(join(BIN, 'LICENSES.txt'), licences(packagesIn(metafiles)))
await bundleStart('procore-proxy.cjs', join(BIN, 'procore-proxy.cjs'))
chmodSync(join(BIN, 'procore-proxy.cjs'), 0o755)
cpSync(join(ROOT, 'src/page'), join(DIST, 'page'), { recursive: true })
run(join(ROOT, 'node_modules/.bin/tsc'), '-p', 'tsconfig.build.json')
if (withCode) run(process.execPath, join(PARTS, 'warm.cjs'))

/** Name, version and licence text of every package in the bundle. */
function licences(packages: readonly BundledPackage[]): string {
  const parts = packages.map(({ folder, name, version, license }) => {
    const file = readdirSync(folder).find((entry) => /^(?:licen[cs]e|copying)/i.test(entry))
    const words = file === undefined ? '' : `\n\n${readFileSync(join(folder, file), 'utf8').trim()}`
    return `${name} ${version} (${license})${words}\n`
  })
  return `procore-proxy is bundled with these packages.\n\n${parts.join(`\n${'-'.repeat(80)}\n\n`)}`
}

function run(command: string, ...args: string[]): void {
  execFileSync(command, args, { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] })
}
