import { memo, useDeferredValue } from "react";
import ReactMarkdown, { type Components, type ExtraProps } from "react-markdown";
import remarkGfm from "remark-gfm";
import { CodeBlock } from "./CodeBlock";

const PLUGINS = [remarkGfm];

const COMPONENTS: Components = {
  // Elsewhere, without telling from where.
  a: ({ href, children }) => (
    <a href={href} target="_blank" rel="noreferrer noopener">
      {children}
    </a>
  ),
  // The page loads nothing from other hosts: a picture is a link to it.
  img: ({ src, alt }) =>
    typeof src === "string" ? (
      <a href={src} target="_blank" rel="noreferrer noopener">
        {alt || "picture"}
      </a>
    ) : null,
  pre: ({ node }) => <CodeBlock {...codeOf(node)} />,
  table: ({ children }) => (
    <div className="table">
      <table>{children}</table>
    </div>
  ),
};

/** Markdown as models write it. HTML in it is shown as text. */
export const Markdown = memo(function Markdown({ text }: { text: string }) {
  // A long answer is parsed anew with every piece that comes; typing goes first.
  const shown = useDeferredValue(text);
  return (
    <div className="markdown">
      <ReactMarkdown remarkPlugins={PLUGINS} components={COMPONENTS}>
        {shown}
      </ReactMarkdown>
    </div>
  );
});

function codeOf(pre: ExtraProps["node"]): { code: string; language: string | null } {
  const [inner] = pre?.children ?? [];
  if (inner?.type !== "element") return { code: "", language: null };
  const code = inner.children.map((child) => (child.type === "text" ? child.value : "")).join("");
  const classes = inner.properties.className;
  const named = Array.isArray(classes) ? classes.map(String).find((name) => name.startsWith("language-")) : undefined;
  return { code: code.replace(/\n$/, ""), language: named?.slice("language-".length) ?? null };
}
