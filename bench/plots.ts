// Plots as plain SVG that can be read on a light and on a dark page; pure.

export interface Bars {
  readonly title: string
  readonly unit: string
  /** Names of the bars of one row, such as plain and TLS. */
  readonly series: readonly string[]
  readonly rows: readonly {
    readonly label: string
    /** In the order of `series`; undefined where not measured. */
    readonly values: readonly (number | undefined)[]
    /** The one that it is all about. */
    readonly own: boolean
  }[]
}

export interface Lines {
  readonly title: string
  readonly unit: string
  readonly xTitle: string
  readonly logX: boolean
  readonly lines: readonly {
    readonly name: string
    readonly points: readonly (readonly [number, number])[]
  }[]
}

const WIDTH = 760
const STYLE = `
  svg { font: 13px system-ui, sans-serif; }
  .page { fill: #ffffff; stroke: #d0d7de; }
  text { fill: #1f2328; }
  .faint { fill: #59636e; }
  .grid { stroke: #d8dee4; }
  .s0 { fill: #8b96a3; stroke: #8b96a3; } .s1 { fill: #c0c8d1; stroke: #c0c8d1; } .s2 { fill: #dde2e7; stroke: #dde2e7; }
  .own .s0 { fill: #d9480f; } .own .s1 { fill: #f08c5a; } .own .s2 { fill: #f9c4a4; }
  .l0 { stroke: #d9480f; fill: #d9480f; } .l1 { stroke: #1971c2; fill: #1971c2; } .l2 { stroke: #2b8a3e; fill: #2b8a3e; }
  .line { fill: none; stroke-width: 2; }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117; stroke: #30363d; }
    text { fill: #e6edf3; }
    .faint { fill: #9198a1; }
    .grid { stroke: #2a313a; }
    .s0 { fill: #7d8894; stroke: #7d8894; } .s1 { fill: #4d5763; stroke: #4d5763; } .s2 { fill: #333b45; stroke: #333b45; }
    .own .s0 { fill: #ff8a4c; } .own .s1 { fill: #b85a28; } .own .s2 { fill: #7a3d1c; }
    .l0 { stroke: #ff8a4c; fill: #ff8a4c; } .l1 { stroke: #4dabf7; fill: #4dabf7; } .l2 { stroke: #69db7c; fill: #69db7c; }
  }`

const escaped = (text: string) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')

/** Enough digits to tell bars apart. */
function short(value: number): string {
  return Math.abs(value) >= 100
    ? value.toFixed(0)
    : Math.abs(value) >= 10
      ? value.toFixed(1)
      : value.toFixed(2)
}

function text(x: number, y: number, content: string, more = ''): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}"${more && ` ${more}`}>${escaped(content)}</text>`
}

function page(title: string, height: number, parts: readonly string[]): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="${escaped(title)}">
<style>${STYLE}
</style>
<rect class="page" x="0.5" y="0.5" width="${WIDTH - 1}" height="${height - 1}" rx="6"/>
${text(20, 30, title, 'font-size="16" font-weight="600"')}
${parts.join('\n')}
</svg>
`
}

function legend(names: readonly string[], kind: 's' | 'l'): string {
  let x = 20
  return names
    .map((name, nth) => {
      const at = x
      x += 30 + name.length * 7.5
      return `<rect class="${kind}${nth}" x="${at}" y="44" width="12" height="12"/>${text(at + 18, 54.5, name, 'class="faint"')}`
    })
    .join('')
}

/** Bars that lie, one row a contender, shortest first. */
export function barPlot({ title, unit, series, rows }: Bars): string {
  const wanted = rows
    .filter(({ values }) => values.some((value) => value !== undefined))
    .sort((a, b) => (a.values[0] ?? 0) - (b.values[0] ?? 0))
  const most = Math.max(1e-9, ...wanted.flatMap(({ values }) => values.map((value) => value ?? 0)))
  const [left, right, top, thick] = [250, 80, 70, 16]
  const rowHeight = series.length * thick + 10
  const parts = wanted.map(({ label, values, own }, row) => {
    const y = top + row * rowHeight
    const bars = values.map((value, nth) => {
      if (value === undefined) return ''
      const width = (Math.max(value, 0) / most) * (WIDTH - left - right)
      const at = y + nth * thick
      return `<rect class="s${nth}" x="${left}" y="${at}" width="${width.toFixed(1)}" height="${thick - 2}"/>${text(left + width + 6, at + 11.5, short(value))}`
    })
    const middle = y + (series.length * thick) / 2 + 4
    const name = text(left - 12, middle, label, `text-anchor="end"${own ? ' font-weight="600"' : ''}`)
    return `<g${own ? ' class="own"' : ''}>${name}${bars.join('')}</g>`
  })
  const head = series.length > 1 ? legend(series, 's') : text(20, 54.5, series[0] ?? '', 'class="faint"')
  const height = top + wanted.length * rowHeight + 14
  return page(`${title} (${unit})`, height, [head, ...parts])
}

/** Lines from zero up, so that what is flat looks flat. */
export function linePlot({ title, unit, xTitle, logX, lines }: Lines): string {
  const [left, right, top, bottom, height] = [70, 30, 75, 55, 340]
  const points = lines.flatMap(({ points }) => points)
  const scaled = (x: number) => (logX ? Math.log10(Math.max(x, 1)) : x)
  const xs = points.map(([x]) => scaled(x))
  const [from, to] = [Math.min(...xs), Math.max(...xs)]
  const step = niceStep(Math.max(1e-9, ...points.map(([, y]) => y)) / 4)
  const most = Math.ceil((Math.max(...points.map(([, y]) => y)) * 1.05) / step) * step || step
  const atX = (x: number) => left + ((scaled(x) - from) / (to - from || 1)) * (WIDTH - left - right)
  const atY = (y: number) => height - bottom - (y / most) * (height - top - bottom)
  const grid = Array.from({ length: Math.round(most / step) + 1 }, (_, nth) => nth * step).map(
    (y) =>
      `<line class="grid" x1="${left}" x2="${WIDTH - right}" y1="${atY(y).toFixed(1)}" y2="${atY(y).toFixed(1)}"/>${text(left - 8, atY(y) + 4, String(Number(y.toPrecision(3))), 'text-anchor="end" class="faint"')}`,
  )
  const ticks = [...new Set(logX ? points.map(([x]) => x) : evenly(from, to))]
    .sort((a, b) => a - b)
    .map((x) => text(atX(x), height - bottom + 18, amount(x), 'text-anchor="middle" class="faint"'))
  const drawn = lines.map(({ points }, nth) => {
    const path = points.map(([x, y]) => `${atX(x).toFixed(1)},${atY(y).toFixed(1)}`)
    const dots =
      points.length > 30
        ? ''
        : path
            .map((at) => at.split(','))
            .map(([x, y]) => `<circle class="l${nth}" cx="${x}" cy="${y}" r="3"/>`)
            .join('')
    return `<polyline class="line l${nth}" style="fill:none" points="${path.join(' ')}"/>${dots}`
  })
  const under = text((left + WIDTH - right) / 2, height - 14, xTitle, 'text-anchor="middle" class="faint"')
  const names = lines.map(({ name }) => name)
  return page(`${title} (${unit})`, height, [legend(names, 'l'), ...grid, ...ticks, ...drawn, under])
}

/** 1, 2 or 5 times a power of ten. */
function niceStep(rough: number): number {
  const power = 10 ** Math.floor(Math.log10(rough))
  return [1, 2, 5, 10].map((times) => times * power).find((step) => step >= rough) ?? rough
}

function evenly(from: number, to: number): number[] {
  return Array.from({ length: 6 }, (_, nth) => Math.round(from + ((to - from) * nth) / 5))
}

/** 1024 → 1024, 1048576 → 1 Mi: bytes and counts are small or powers of two. */
function amount(x: number): string {
  if (x >= 2 ** 30 && x % 2 ** 30 === 0) return `${x / 2 ** 30} Gi`
  if (x >= 2 ** 20 && x % 2 ** 20 === 0) return `${x / 2 ** 20} Mi`
  if (x >= 2 ** 10 && x % 2 ** 10 === 0) return `${x / 2 ** 10} Ki`
  return String(x)
}
