import "./policy";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./App";
import { receive } from "./codex/returned";
import "./styles/index.css";

const root = document.getElementById("root");
if (root === null) throw new Error("index.html has no #root");
receive();
createRoot(root).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
