// Makes the page at /_proxy/errors from docs/errors.md.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Marked } from 'marked'

const STYLE =
  ':root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}body{max-width:46rem;margin:2rem auto;padding:0 1rem}' +
  'pre{overflow:auto;padding:1rem;background:#8881}code{font:0.9em ui-monospace,monospace}table{border-collapse:collapse}' +
  'td,th{border:1px solid #8886;padding:.25rem .5rem;text-align:left}:target{background:#fc36}'

/** The whole page. Each heading gets its text as its id, so that `#CODE` leads to it; links to other pages become text. */
export function errorDocsPage(root: string): string {
  const marked = new Marked({
    renderer: {
      heading({ tokens, depth, text }) {
        const id = text.toLowerCase().replace(/[^a-z0-9_]+/g, '-')
        return `<h${depth} id="${id}">${this.parser.parseInline(tokens)}</h${depth}>\n`
      },
      link({ href, tokens }) {
        const text = this.parser.parseInline(tokens)
        return href.startsWith('#') ? `<a href="${href}">${text}</a>` : text
      },
    },
  })
  // A line that begins with a status is no item of a list.
  const source = readFileSync(join(root, 'docs/errors.md'), 'utf8').replace(/^(\d{3})\. /gm, '$1\\. ')
  const body = marked
    .parse(source, { async: false })
    .split(/(<pre>.*?<\/pre>)/s)
    .map((part) => (part.startsWith('<pre>') ? part : part.replace(/\n(?!<(?:h\d|p|ul|table)\b|$)/g, ' ')))
    .join('')
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Errors of procore-proxy</title>
<style>${STYLE}</style>
${body}</html>
`
}
