"use strict";
// Titles explain every number without this script; with it they appear at once, on focus as well,
// and keep their lines.
(() => {
  const tip = document.getElementById("tip");
  for (const title of document.querySelectorAll("svg title")) {
    if (title.parentNode.tagName !== "svg") title.parentNode.dataset.tip = title.textContent;
    title.remove();
  }
  for (const element of document.querySelectorAll("main [title]")) {
    element.dataset.tip = element.title;
    element.removeAttribute("title");
    element.tabIndex = 0;
    element.setAttribute("aria-describedby", "tip");
  }
  let focused = null;
  const hide = () => { tip.hidden = true; };
  const show = (element, x, y) => {
    tip.textContent = element.dataset.tip;
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = Math.max(6, Math.min(x + 14, innerWidth - width - 8)) + "px";
    tip.style.top = (y + height + 24 > innerHeight ? Math.max(6, y - height - 12) : y + 18) + "px";
  };
  const follow = () => {
    const box = focused?.getBoundingClientRect();
    if (box) show(focused, box.left, box.bottom - 12); else hide();
  };
  addEventListener("pointermove", (event) => {
    const element = event.target.closest?.("[data-tip]");
    if (element) show(element, event.clientX, event.clientY); else hide();
  });
  addEventListener("focusin", (event) => {
    focused = event.target.dataset.tip ? event.target : null;
    follow();
  });
  addEventListener("focusout", () => { focused = null; hide(); });
  addEventListener("scroll", follow, { passive: true });
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") { focused = null; hide(); }
  });
})();
