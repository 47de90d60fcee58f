// What pushes to browsers: Web PubSub with its hub, and SignalR only where it is asked for.

param location string
param name string
param tags object
param principalId string
param hub string

@allowed([
  'Free_F1'
  'Standard_S1'
  'Premium_P1'
])
param sku string

@description('1,000 connections each.')
param units int

@description('SignalR Service in place of Web PubSub, for apps that have its client already.')
param signalr bool

param allowedOrigins array
param workspaceId string

var webPubSubOwner = '12cf5a90-567b-43ae-8102-96cf46c7d9b4'
var signalrOwner = '7e4f1700-ea5a-4f59-8f37-079cfe29dce3'
var tier = split(sku, '_')[0]

resource pubsub 'Microsoft.SignalRService/webPubSub@2024-03-01' = if (!signalr) {
  // checkov:skip=CKV_AZURE_176:it has one; checkov does not find it in a resource with a condition
  // checkov:skip=CKV_AZURE_175:the SKU is a parameter; Free has no SLA and is for trying
  name: '${name}-pubsub'
  location: location
  tags: tags
  kind: 'WebPubSub'
  sku: {
    name: sku
    tier: tier
    capacity: units
  }
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    disableLocalAuth: true
    disableAadAuth: false
    publicNetworkAccess: 'Enabled'
    tls: {
      clientCertEnabled: false
    }
  }
}

resource pubsubHub 'Microsoft.SignalRService/webPubSub/hubs@2024-03-01' = if (!signalr) {
  parent: pubsub
  name: hub
  properties: {
    anonymousConnectPolicy: 'deny'
  }
}

resource pubsubRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!signalr) {
  name: guid(pubsub.id, principalId, webPubSubOwner)
  scope: pubsub
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', webPubSubOwner)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

resource pubsubDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (!signalr) {
  name: 'to-workspace'
  scope: pubsub
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'ConnectivityLogs'
        enabled: true
      }
    ]
  }
}

resource signalrService 'Microsoft.SignalRService/signalR@2024-03-01' = if (signalr) {
  name: '${name}-signalr'
  location: location
  tags: tags
  kind: 'SignalR'
  sku: {
    name: sku
    tier: tier
    capacity: units
  }
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    disableLocalAuth: true
    disableAadAuth: false
    publicNetworkAccess: 'Enabled'
    features: [
      {
        flag: 'ServiceMode'
        value: 'Serverless'
      }
    ]
    cors: {
      allowedOrigins: allowedOrigins
    }
    tls: {
      clientCertEnabled: false
    }
  }
}

resource signalrRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (signalr) {
  name: guid(signalrService.id, principalId, signalrOwner)
  scope: signalrService
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', signalrOwner)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

output endpoint string = signalr ? 'https://${name}-signalr.service.signalr.net' : 'https://${name}-pubsub.webpubsub.azure.com'
