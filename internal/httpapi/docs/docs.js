// Draws the contract. It stands in a file of its own because the page's security policy runs nothing else.
SwaggerUIBundle({
  url: "/openapi.yaml",
  dom_id: "#contract",
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  defaultModelExpandDepth: 3,
  showExtensions: true,
  validatorUrl: null,
});
