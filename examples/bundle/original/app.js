/**
 * Teahouse: puts teas into an order and sends it.
 */
"use strict";

/* The order: the name of a tea and its number of cups. */
const orderedCups = {};
const pricesOfTeas = {};

/**
 * Returns the first element that a selector finds.
 */
function findElement(selector) {
  return document.querySelector(selector);
}

/**
 * The old shop's slides. Nothing calls this any more.
 */
function startCarousel(interval) {
  const slides = document.querySelectorAll(".carousel .slide");
  let current = 0;
  setInterval(function () {
    slides[current].classList.add("is-hidden");
    current = (current + 1) % slides.length;
    slides[current].classList.remove("is-hidden");
  }, interval);
}

/**
 * The old shop's tooltips. Nothing calls this any more.
 */
function showTooltip(element, text) {
  const tooltip = document.createElement("div");
  tooltip.className = "tooltip";
  tooltip.textContent = text;
  tooltip.style.left = element.offsetLeft + "px";
  tooltip.style.top = element.offsetTop + element.offsetHeight + "px";
  document.body.appendChild(tooltip);
  return hideLater(tooltip, 2000);
}

/**
 * Only the tooltips use this.
 */
function hideLater(element, milliseconds) {
  return setTimeout(function () {
    element.parentNode.removeChild(element);
  }, milliseconds);
}

/**
 * Adds up what the order costs.
 */
function computeTotal() {
  let totalPrice = 0;
  for (const teaName of Object.keys(orderedCups)) {
    totalPrice = totalPrice + orderedCups[teaName] * pricesOfTeas[teaName];
  }
  return totalPrice;
}

/**
 * Shows the order as a list, and its total.
 */
function renderOrder() {
  const listElement = findElement("#list");
  listElement.textContent = "";
  for (const teaName of Object.keys(orderedCups)) {
    const itemElement = document.createElement("li");
    itemElement.textContent = orderedCups[teaName] + " x " + teaName;
    listElement.appendChild(itemElement);
  }
  findElement("#total").textContent = String(computeTotal());
}

/**
 * Adds one cup of a tea.
 */
function addTea(cardElement) {
  const teaName = cardElement.dataset.tea;
  pricesOfTeas[teaName] = Number(cardElement.dataset.price);
  orderedCups[teaName] = (orderedCups[teaName] || 0) + 1;
  renderOrder();
}

/**
 * Says something below the form.
 */
function showMessage(messageText) {
  const messageElement = findElement("#message");
  messageElement.textContent = messageText;
  messageElement.hidden = false;
}

/**
 * Sends the order, if there is one and a name.
 */
function sendOrder(submitEvent) {
  submitEvent.preventDefault();
  const customerName = findElement("#name").value.trim();
  if (customerName === "" || computeTotal() === 0) {
    showMessage("Please choose a tea and enter your name.");
    return;
  }
  showMessage("Thank you, " + customerName + "!");
}

for (const buttonElement of document.querySelectorAll(".card .button")) {
  buttonElement.addEventListener("click", function () {
    addTea(buttonElement.parentNode);
  });
}

findElement("#form").addEventListener("submit", sendOrder);
renderOrder();
