// The site of docs/, made by `make site`. docs/README.md is its first page and its navigation.
import { copyFileSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig } from "vitepress";
import { renderMermaidSVG } from "beautiful-mermaid";

// make site copies docs/ beside this folder, so that Vite finds the packages from there.
const docs = join(import.meta.dirname, "../docs");
// The address of the files of the repository, for example https://git.example.com/sluice/blob/main.
const repository = process.env.BASE?.replace(/\/$/, "");

export default defineConfig({
  title: "Sluice",
  description: "WhatsApp messages through Meta's Cloud API: stored durably, sent at the rate limit, followed until they are read.",
  srcDir: "docs",
  outDir: "../site",
  rewrites: { "README.md": "index.md" },
  cleanUrls: false,
  themeConfig: {
    sidebar: sidebar(),
    outline: { level: [2, 3] },
    search: { provider: "local" },
    externalLinkIcon: true,
  },
  markdown: {
    html: false,
    attrs: { disable: true },
    anchor: { slugify: anchor },
    config: (md) => {
      dropComments(md);
      leadOut(md);
      drawCheckboxes(md);
      drawDiagrams(md);
    },
  },
  // Pages link to the descriptions in JSON, which are not pages.
  buildEnd: ({ outDir }) => {
    for (const file of readdirSync(docs)) if (file.endsWith(".json")) copyFileSync(join(docs, file), join(outDir, file));
  },
});

// sidebar reads the navigation from the lists of docs/README.md: a heading is a group, a list item that begins with a link is an entry.
function sidebar() {
  const groups = [];
  for (const line of readFileSync(join(docs, "README.md"), "utf8").split("\n")) {
    const heading = line.match(/^## (.+)/);
    if (heading) groups.push({ text: heading[1], items: [] });
    const item = line.match(/^- \[([^\]]+)\]\(([\w-]+)\.md\)/);
    if (item) groups.at(-1).items.push({ text: item[1], link: "/" + item[2] });
  }
  return groups;
}

// anchor returns the anchor that GitHub gives to a heading, which the links between pages use.
function anchor(heading) {
  return heading.toLowerCase().replace(/[^\p{L}\p{N}_ -]+/gu, "").replaceAll(" ", "-");
}

// dropComments removes HTML comments, the only HTML in the pages.
function dropComments(md) {
  md.core.ruler.after("normalize", "drop-comments", (state) => {
    state.src = state.src.replace(/^<!--.*?-->$/gms, "");
  });
}

// leadOut handles links to files of the repository outside of docs/: with BASE they lead there, without it they are text.
function leadOut(md) {
  md.core.ruler.push("lead-out", ({ tokens, env }) => {
    const up = env.relativePath.includes("/") ? "../../" : "../";
    for (const { children } of tokens) {
      let file;
      for (const token of children ?? []) {
        const href = token.attrGet("href");
        if (token.type === "link_open" && href?.startsWith(up)) {
          file = href.slice(up.length);
          if (repository) token.attrSet("href", `${repository}/${file}`);
          else Object.assign(token, { tag: "span", attrs: [["class", "in-repository"], ["title", `In the repository: ${file}`]] });
        } else if (token.type === "link_close") {
          if (file && !repository) token.tag = "span";
          file = undefined;
        }
      }
    }
  });
}

// drawCheckboxes draws the boxes of a checklist, `- [ ]`, as GitHub does.
function drawCheckboxes(md) {
  md.core.ruler.push("draw-checkboxes", ({ tokens }) => {
    for (const { children } of tokens) if (children?.[0]?.content.startsWith("[ ] ")) children[0].content = "☐" + children[0].content.slice(3);
  });
}

// drawDiagrams draws mermaid blocks as SVG at build time, in the colours of the page.
function drawDiagrams(md) {
  const fence = md.renderer.rules.fence;
  md.renderer.rules.fence = (tokens, i, ...rest) => {
    if (tokens[i].info !== "mermaid") return fence(tokens, i, ...rest);
    const svg = renderMermaidSVG(tokens[i].content, { bg: "var(--vp-c-bg)", fg: "var(--vp-c-text-1)", transparent: true });
    return `<div class="diagram" v-pre>${svg.replace(/@import url\([^)]*\);/, "")}</div>\n`;
  };
}
