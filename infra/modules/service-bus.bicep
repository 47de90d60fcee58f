// The bus. Topics, subscriptions and rules come from topology.json, which is made from
// notifications/bus/topology.py.

param location string
param name string
param tags object

@description('Standard holds production for 500 users; Premium is isolated, zone redundant and can be reached privately.')
@allowed([
  'Standard'
  'Premium'
])
param sku string

@description('Messaging units of Premium.')
param capacity int

@description('The identity that the workers run as.')
param principalId string

@description('Whether producers without an Azure identity, such as Vercel, get a key that may send jobs and nothing else.')
param sendKey bool

@description('Whether the platform may read backlogs to scale by them. Needs the right to manage the two topics; without, it scales more slowly.')
param scaleByBacklog bool

param publicNetworkAccess string
param workspaceId string

var topology = loadJsonContent('../topology.json')
var dataOwner = '090c5cfd-751d-490a-894a-3ce6f1109419'
var dataSender = '69a216fc-b8fb-44d8-bc22-1f3c2cd27a39'
var dataReceiver = '4f6d3b9b-027b-4f4c-9142-0e5a2a2247e0'
var roles = scaleByBacklog ? [
  dataOwner
] : [
  dataSender
  dataReceiver
]

resource namespace 'Microsoft.ServiceBus/namespaces@2024-01-01' = {
  name: name
  location: location
  tags: tags
  sku: {
    name: sku
    tier: sku
    capacity: sku == 'Premium' ? capacity : null
  }
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    minimumTlsVersion: '1.2'
    disableLocalAuth: !sendKey
    publicNetworkAccess: publicNetworkAccess
  }
}

// Azure refuses changes to children of one parent that are made at once: one after the other.
@batchSize(1)
resource topics 'Microsoft.ServiceBus/namespaces/topics@2024-01-01' = [for topic in topology.topics: {
  parent: namespace
  name: topic.name
  properties: topic.properties
}]

@batchSize(1)
resource subscriptions 'Microsoft.ServiceBus/namespaces/topics/subscriptions@2024-01-01' = [for entry in topology.subscriptions: {
  name: '${namespace.name}/${entry.topic}/${entry.name}'
  properties: entry.properties
  dependsOn: [
    topics
  ]
}]

// The first rule is named $Default and so takes the place of the one that lets everything through.
@batchSize(1)
resource rules 'Microsoft.ServiceBus/namespaces/topics/subscriptions/rules@2024-01-01' = [for entry in topology.subscriptions: {
  name: '${namespace.name}/${entry.topic}/${entry.name}/${entry.rule.name}'
  properties: entry.rule.properties
  dependsOn: [
    subscriptions
  ]
}]

resource jobsTopic 'Microsoft.ServiceBus/namespaces/topics@2024-01-01' existing = {
  parent: namespace
  name: 'huntaze-jobs'
}

resource eventsTopic 'Microsoft.ServiceBus/namespaces/topics@2024-01-01' existing = {
  parent: namespace
  name: 'huntaze-events'
}

resource send 'Microsoft.ServiceBus/namespaces/topics/authorizationRules@2024-01-01' = if (sendKey) {
  parent: jobsTopic
  name: 'vercel-send'
  properties: {
    rights: [
      'Send'
    ]
  }
  dependsOn: [
    topics
  ]
}

resource jobsRoles 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for role in roles: {
  name: guid(jobsTopic.id, principalId, role)
  scope: jobsTopic
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
  dependsOn: [
    topics
  ]
}]

resource eventsRoles 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for role in roles: {
  name: guid(eventsTopic.id, principalId, role)
  scope: eventsTopic
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
  dependsOn: [
    topics
  ]
}]

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: namespace
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'OperationalLogs'
        enabled: true
      }
    ]
  }
}

output id string = namespace.id
output name string = namespace.name
output endpoint string = '${namespace.name}.servicebus.windows.net'
